"""`hydindex report`: an HTML page that shows pairs side by side.

The page loads nothing and sends nothing. Data from Hydrus travels as JSON, which the page's script
inserts as text; the page's policy runs no other script.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from hydindex import __version__
from hydindex.commands.options import DEFAULT_CONFIG, ConfigPath, MinScore, States
from hydindex.commands.output_files import replaced_file
from hydindex.commands.session import open_session
from hydindex.commands.stats import Stats, gather_stats
from hydindex.common import clock

if TYPE_CHECKING:
    from hydindex.store.pair_list import ListedFile, ListedPair

# Of the files that share a picture, the page shows the shortest, the longest, and some between.
_EXAMPLES: Final = 5


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
    from hydindex.pipeline.shared_pictures import files_with_shared_picture, group_by_picture
    from hydindex.store.store import open_for_reading

    session = open_session(config_path)
    with open_for_reading(session.index_path) as store:
        without = files_with_shared_picture(store)
        pairs = store.pairs.highest_scores(states or (), min_score, limit, without_shared=without)
        held_back = store.shared_pictures.pairs(without, states or (), min_score)
        groups = [
            _shared_picture(store.pairs.files(each.file_ids), each.pair_count)
            for each in group_by_picture(held_back)
        ]
        left_out = store.pairs.count(states or (), min_score) - len(pairs) - len(held_back)
        shown_ids = [file_id for each in pairs for file_id in each.pair.ids]
        shown_ids += [file.id for each in groups for file in each.examples]
        shown_files = store.pairs.files(shown_ids)
        stats = gather_stats(store, session.config)
        data = _page_data(pairs, groups, shown_files, stats, left_out=left_out)
        with replaced_file(output_path) as file:
            file.writelines(_page(data, store.pairs.thumbnails(shown_files)))
    session.console.print(f"{len(pairs):,} pairs written to {output_path}. Open it in a browser.")
    if groups:
        session.console.print(
            f"{len(held_back):,} more pairs are shown as {len(groups):,} shared pictures."
        )
    if left_out:
        session.console.print(f"{left_out:,} pairs with lower scores were left out (--limit).")


@dataclass(frozen=True, slots=True)
class _SharedPicture:
    """A picture that many files share, as the page shows it. `files` have ascending durations."""

    files: "Sequence[ListedFile]"
    examples: "Sequence[ListedFile]"
    pair_count: int


def _shared_picture(files: "Sequence[ListedFile]", pair_count: int) -> _SharedPicture:
    by_duration = sorted(files, key=lambda file: file.duration_ms or 0.0)
    last = len(files) - 1
    chosen = {round(last * step / (_EXAMPLES - 1)) for step in range(_EXAMPLES)}
    return _SharedPicture(by_duration, [by_duration[each] for each in sorted(chosen)], pair_count)


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
    groups: Sequence[_SharedPicture],
    shown_files: "Sequence[ListedFile]",
    stats: Stats,
    *,
    left_out: int,
) -> dict[str, Any]:
    """Return what the page's script needs, except the thumbnails."""
    from hydindex.matching.calibrated.features import FEATURES
    from hydindex.records.pairs import BY_FRAMES, BY_THUMBNAILS, VERSION_KEY

    position_of = {each.id: position for position, each in enumerate(shown_files)}
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
            for each in shown_files
        ],
        "shared_pictures": [
            {
                "pair_count": each.pair_count,
                "sha256s": [file.sha256.hex() for file in each.files],
                "durations_ms": [each.files[0].duration_ms, each.files[-1].duration_ms],
                "examples": [position_of[file.id] for file in each.examples],
            }
            for each in groups
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
