"""The promises about real input, on a labelled library of 474 real thumbnails."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import CORPUS, Home, count, fetched, rows

from hydindex.standin.server import StandIn
from hydindex.standin.state import load_folder, true_pairs

pytestmark = pytest.mark.skipif(
    not CORPUS.exists(), reason="needs the labelled corpus, which is not part of the project"
)
SHIPPED_CONFIG = Path(__file__).parents[2] / "hydrus_config.json"
HELD_BACK = 20


def test_the_shipped_config_on_real_thumbnails(home: Home, serve: Callable[..., StandIn]) -> None:
    files = load_folder(CORPUS, tags={"meta:pd"})
    client = serve(files[:-HELD_BACK])
    home.replace_config(json.loads(SHIPPED_CONFIG.read_text()), client)

    first = home.update()
    assert first["files"]["indexed"] == len(files) - HELD_BACK
    assert first["pairs"]["posted"] == first["pairs"]["matched"] == len(client.potentials) > 0

    client.clear_log()
    again = home.update()
    assert again["pairs"]["posted"] == again["pairs"]["scored"] == 0
    assert count(client, "/thumbnail") == 0
    assert len(client.requests) <= 8

    client.add(files[-HELD_BACK:])
    sent_before = set(client.potentials)
    home.update()
    assert len(fetched(client)) == HELD_BACK
    assert not sent_before & set(rows(client))
    bytes_per_file = home.index.stat().st_size / len(files)
    assert bytes_per_file <= 48 * 1024

    client.clear_log()
    home.configure(candidate_generation={"tolSeconds": 0.9}, decision={"min_probability": 0.5})
    posted = set(client.potentials)
    assert home.rebuild()["pairs"]["candidates"] > 0
    assert client.requests == []
    home.update()
    assert count(client, "/thumbnail") == 0
    assert not posted & set(rows(client))

    # Not goals, but floors: far below them, something is broken.
    right = true_pairs(files) & sent_before
    assert len(right) / len(sent_before) > 0.97
    assert len(right) / len(true_pairs(files[:-HELD_BACK])) > 0.93
