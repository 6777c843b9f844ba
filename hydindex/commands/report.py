"""`hydindex report`: an HTML page that shows pairs side by side.

The page loads nothing and sends nothing. Data from Hydrus travels as JSON, which the page's script
inserts as text; the page's policy runs no other script.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hydindex import __version__
from hydindex.commands.options import DEFAULT_CONFIG, ConfigPath, MinScore, States
from hydindex.commands.output_files import replaced_file
from hydindex.commands.session import open_session
from hydindex.commands.stats import Stats, gather_stats
from hydindex.common import clock

if TYPE_CHECKING:
    from hydindex.store.pair_list import ListedFile, ListedPair


def report(
    output_path: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="HTML file to write.")
    ],
    config_path: ConfigPath = DEFAULT_CONFIG,
    states: States = None,
    min_score: MinScore = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="PAIRS", min=1, help="Show at most this many pairs.")
    ] = 5000,
) -> None:
    """Write an HTML page of pairs side by side.

    Open it in a browser. It is one file with all thumbnails, and needs neither network nor Hydrus.

    Example: hydindex report --output report.html
    """
    from hydindex.store.store import open_for_reading

    session = open_session(config_path)
    with open_for_reading(session.index_path) as store:
        pairs = store.pairs.highest_scores(states or (), min_score, limit)
        files_of_pairs = store.pairs.files_of(pairs)
        left_out = store.pairs.count(states or (), min_score) - len(pairs)
        stats = gather_stats(store, session.config)
        data = _page_data(pairs, files_of_pairs, stats, left_out=left_out)
        with replaced_file(output_path) as file:
            file.writelines(_page(data, store.pairs.thumbnails(files_of_pairs)))
    session.console.print(f"{len(pairs):,} pairs written to {output_path}. Open it in a browser.")
    if left_out:
        session.console.print(f"{left_out:,} pairs with lower scores were left out (--limit).")


def _page(data: dict[str, Any], thumbnails: Iterable[bytes | None]) -> Iterator[str]:
    """Yield the page piece by piece: the thumbnails of many files are large."""
    style, script = _resource("page.css"), _resource("page.js")
    before, after = (
        Template(half).substitute(
            style=style,
            script=script,
            style_hash=_policy_hash(style),
            script_hash=_policy_hash(script),
            data=_json(data),
        )
        for half in _resource("page.html").split("$thumbnails")
    )
    yield before
    separator = "["
    for thumbnail in thumbnails:
        yield separator + _json(None if thumbnail is None else _data_uri(thumbnail))
        separator = ","
    yield "]" if data["files"] else "[]"
    yield after


def _page_data(
    pairs: "Sequence[ListedPair]",
    files_of_pairs: "Sequence[ListedFile]",
    stats: Stats,
    *,
    left_out: int,
) -> dict[str, Any]:
    """Return what the page's script needs, except the thumbnails."""
    from hydindex.matching.calibrated.features import FEATURES
    from hydindex.records.pairs import BY_FRAMES, BY_THUMBNAILS, VERSION_KEY

    position_of = {each.id: position for position, each in enumerate(files_of_pairs)}
    probabilities = [
        {
            "name": BY_FRAMES,
            "label": "probability by frames",
            "unit": "",
            "explanation": "the result of frame verification",
        },
        {
            "name": BY_THUMBNAILS,
            "label": "probability by thumbnails",
            "unit": "",
            "explanation": "before frame verification",
        },
    ]
    keys = ("name", "label", "unit", "explanation")
    return {
        "version": __version__,
        "written_at": clock.now(),
        "left_out": left_out,
        "attention": stats["attention"],
        "compared_files": stats["files"]["compared"],
        "pair_states": stats["pairs"]["states"],
        "min_score": stats["scores"]["matching_from"],
        "score_counts": stats["scores"]["bands"],
        "features": [
            *probabilities,
            *({key: getattr(each, key) for key in keys} for each in FEATURES),
        ],
        "files": [
            {**asdict(each), "sha256": each.sha256.hex(), "id": position_of[each.id]}
            for each in files_of_pairs
        ],
        "pairs": [
            {
                "a": position_of[each.pair.low],
                "b": position_of[each.pair.high],
                "score": each.score,
                "state": each.state,
                "state_at": each.state_at,
                "decision": each.decision or "open",
                "matches": each.matches,
                "reason": each.reason,
                "features": {
                    name: value
                    for name, value in (each.features or {}).items()
                    if name != VERSION_KEY
                },
            }
            for each in pairs
        ],
    }


def _resource(name: str) -> str:
    return (files("hydindex.commands") / "report_page" / name).read_text(encoding="utf-8")


def _json(value: object) -> str:
    """Encode as JSON that can't end its script element."""
    return json.dumps(value).replace("<", "\\u003c")


def _data_uri(thumbnail: bytes) -> str:
    kind = "png" if thumbnail.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(thumbnail).decode()}"


def _policy_hash(text: str) -> str:
    """Return the hash by which the page's policy allows a style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
