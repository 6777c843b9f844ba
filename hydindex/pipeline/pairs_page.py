"""`hydindex report`: one HTML page that shows pairs with their thumbnails, and the index's figures.

The page loads nothing and sends nothing. What comes from Hydrus travels as JSON, which the script
of the page puts in as text; the page's policy runs no other script.
"""

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from string import Template
from typing import Any, Final

import numpy as np

from hydindex import __version__
from hydindex.common import clock
from hydindex.config.settings import Config
from hydindex.pipeline.stats import Stats, gather
from hydindex.records.pair_states import PairState
from hydindex.store.pair_list import ListedFile, ListedPair
from hydindex.store.run_log import RecordedRun
from hydindex.store.store import Store

_RUNS_SHOWN: Final = 30
_TEMPLATE: Final = "pairs_page"


@dataclass(frozen=True, slots=True)
class PairsPage:
    """What the page shows but for the thumbnails: `files` are those of the pairs, each once.

    `left_out` pairs are less certain than those shown; `runs` begin with the newest.
    """

    pairs: list[ListedPair]
    files: list[ListedFile]
    left_out: int
    stats: Stats
    runs: list[RecordedRun]


def gather_page(
    index: Store,
    config: Config,
    states: Sequence[PairState],
    min_score: float | None,
    *,
    limit: int,
) -> PairsPage:
    """Collect what the page shows: pairs in these states, if any are named, and from a score on."""
    pairs = index.pairs.most_certain(states, min_score, limit)
    ids = np.array(sorted({each for item in pairs for each in item.pair.ids}), np.int64)
    return PairsPage(
        pairs=pairs,
        files=index.pairs.files(ids),
        left_out=index.pairs.count(states, min_score) - len(pairs),
        stats=gather(index, config),
        runs=index.runs.latest(_RUNS_SHOWN),
    )


def page_lines(page: PairsPage, index: Store) -> Iterator[str]:
    """Write the page, piece by piece, because the thumbnails of many files are large."""
    style, script = _part("page.css"), _part("page.js")
    before, after = (
        Template(half).substitute(
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
            data=_json(_data(page)),
        )
        for half in _part("page.html").split("$thumbnails")
    )
    yield before
    ids = np.array([each.id for each in page.files], np.int64)
    separator = "["
    for picture in index.pairs.thumbnails(ids):
        yield separator + _json(None if picture is None else _data_uri(picture))
        separator = ","
    yield "]" if page.files else "[]"
    yield after


def _data(page: PairsPage) -> dict[str, Any]:
    """Say all of it in the words of the page's script."""
    stats = page.stats
    place_of = {each.id: place for place, each in enumerate(page.files)}
    return {
        "version": __version__,
        "made_at": clock.now(),
        "left_out": page.left_out,
        "attention": stats.attention(),
        "compared_files": stats.summary.comparable_files,
        "pair_states": stats.summary.pair_states,
        "matching_score": stats.matching_score,
        "score_counts": stats.score_counts,
        "runs": [
            {"command": run.command, "started_at": run.started_at, "report": run.report}
            for run in reversed(page.runs)
            if run.report is not None
        ],
        "files": [
            {**asdict(each), "sha256": each.sha256.hex(), "id": place_of[each.id]}
            for each in page.files
        ],
        "pairs": [
            {
                "a": place_of[each.pair.low],
                "b": place_of[each.pair.high],
                "score": each.score,
                "state": each.state,
                "state_at": each.state_at,
                "decision": each.decision or "open",
                "matches": each.matches,
                "reason": each.reason,
                "features": each.features,
            }
            for each in page.pairs
        ],
    }


def _part(name: str) -> str:
    return (files("hydindex.commands") / _TEMPLATE / name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """Write JSON that stays within its script element, whatever it says."""
    return json.dumps(value).replace("<", "\\u003c")


def _data_uri(picture: bytes) -> str:
    kind = "png" if picture.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(picture).decode()}"


def _hash(text: str) -> str:
    """Name a text as the page's policy does."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
