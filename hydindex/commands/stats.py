"""`hydindex stats`: what the index holds, and what needs attention."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from hydindex.commands.options import DEFAULT_CONFIG, AsJson, ConfigPath
from hydindex.commands.session import open_session
from hydindex.common import clock

if TYPE_CHECKING:
    from hydindex.commands.console import Console, Row
    from hydindex.config.settings import Config
    from hydindex.matching.recipe import RecipeChange
    from hydindex.store.store import Store

Stats = Mapping[str, Any]
"""The state of an index, as `--json` prints it."""

_RUNS_SHOWN: Final = 5
# Runs are nightly.
_OVERDUE_DAYS: Final = 2
_BAR_CHARACTERS: Final = 40


def stats(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show what the index holds.

    What needs attention comes first. Your decisions on posted pairs are shown by score. It can run
    during an update.

    Example: hydindex stats --json
    """
    from hydindex.store.store import open_for_reading

    session = open_session(config_path, as_json=as_json)
    with open_for_reading(session.index_path) as store:
        show_stats(session.console, gather_stats(store, session.config))


def gather_stats(store: "Store", config: "Config") -> Stats:
    """Collect the state of an index."""
    from hydindex.matching.method import method_for
    from hydindex.matching.recipe import recipe_changes
    from hydindex.pipeline.shared_pictures import shared_pictures

    method = method_for(config)
    summary = store.summary()
    changes = recipe_changes(store, config)
    index_files = (store.path, store.path.with_name(f"{store.path.name}-wal"))
    decisions = store.decisions.by_score(calibrated=method.has_probabilities)
    shared = shared_pictures(store)
    last_good_update = store.runs.last_good_update()
    stats: dict[str, Any] = {
        "index": {
            "path": str(store.path),
            "size_bytes": sum(file.stat().st_size for file in index_files if file.exists()),
        },
        "files": {
            "compared": summary.compared_files,
            "waiting": summary.waiting_files,
            "unusable": summary.unusable_reasons,
            "gone": summary.gone_files,
        },
        "pairs": {
            "states": summary.pair_states,
            "refusals": summary.refusal_reasons,
            "doubtful": summary.doubtful_pairs,
            "shared_picture": sum(each.pair_count for each in shared),
            "shared_pictures": len(shared),
        },
        "decisions": [{**asdict(band), "precision": band.precision} for band in decisions],
        "scores": {
            "matching_from": method.min_score,
            "bands": store.pairs.score_counts(calibrated=method.has_probabilities),
        },
        "changes": [asdict(change) for change in changes],
        "days_since_update": last_good_update and clock.days_since(last_good_update),
        "runs": [asdict(run) for run in store.runs.latest(_RUNS_SHOWN)],
    }
    return {"attention": list(_attention(stats, changes)), **stats}


def _attention(stats: Stats, changes: "Sequence[RecipeChange]") -> Iterator[str]:
    """Yield what needs the user's attention, one line each, the most urgent first."""
    for change in changes:
        yield f"the config changed ({change}): run hydindex rebuild"
    days = stats["days_since_update"]
    if days is None:
        yield "no update has succeeded yet"
    elif days >= _OVERDUE_DAYS:
        yield f"the last successful update was {days:,.0f} days ago"
    if stats["runs"] and (error := stats["runs"][0]["error"]):
        yield f"the last run failed: {error.splitlines()[0]}"
    for reason, count in stats["pairs"]["refusals"].items():
        yield f"refused pairs ({count:,}): {reason}"
    for reason, count in stats["files"]["unusable"].items():
        yield f"unusable files ({count:,}): {reason}"


def show_stats(console: "Console", stats: Stats) -> None:
    """Show the state of an index.

    `attention`: what needs attention, in words. `files.compared`: present, and compared with each
    other; `files.waiting`: present, but not compared yet; `files.unusable` and `pairs.refusals`:
    counts by reason. `pairs.doubtful`: pairs that wait for frame verification.
    `pairs.shared_picture`: pairs that are held back because many files share their picture;
    `pairs.shared_pictures`: the number of these pictures. `decisions`: your decisions on posted
    pairs by score, from `lowest` to below `highest`; `precision` is the share that were not false
    positives. `scores.bands`: matching pairs in 20 equal bands from 0 to 1. `changes`: config keys
    that require a rebuild. `runs`: the latest first; `report` is null while a run is going on, or
    if it was killed.
    """
    console.print_json("stats", **stats)
    if stats["attention"]:
        console.print("Needs attention")
        for line in stats["attention"]:
            console.print(f"  ! {line}")
    index, files, pairs, scores = (stats[key] for key in ("index", "files", "pairs", "scores"))
    console.print(f"Index {index['path']}, {index['size_bytes'] / 1e6:,.1f} MB")
    console.table(
        "Files",
        {
            "compared": files["compared"],
            "waiting to be compared": files["waiting"],
            "unusable": sum(files["unusable"].values()),
            "gone from Hydrus": files["gone"],
        },
    )
    doubtful = {"waiting for frame verification": pairs["doubtful"]} if pairs["doubtful"] else {}
    shared = (
        {
            "held back for a shared picture": pairs["shared_picture"],
            "shared pictures": pairs["shared_pictures"],
        }
        if pairs["shared_picture"]
        else {}
    )
    console.table("Pairs", {**pairs["states"], **shared, **doubtful})
    console.columns(
        f"Scores of matching pairs (a pair matches from {scores['matching_from']:.2f})",
        ("score", "pairs", ""),
        _histogram(scores["bands"]),
    )
    if any(band["precision"] is not None for band in stats["decisions"]):
        console.columns(
            "Your decisions on posted pairs, by score",
            ("score", "right", "duplicates", "alternates", "false positives", "open"),
            [
                (
                    f"{band['lowest']:.2f} to {band['highest']:.2f}",
                    "" if band["precision"] is None else f"{band['precision']:.0%}",
                    *(band[key] for key in ("duplicate", "alternate", "false_positive", "open")),
                )
                for band in stats["decisions"]
            ],
        )
    console.columns(
        "Latest runs",
        ("started", "command", "new files", "matches", "posted", "seconds", "result"),
        [_run_row(run) for run in stats["runs"]],
    )


def _histogram(counts: Sequence[int]) -> "list[Row]":
    """Return a bar for each band of scores that has pairs, the highest first."""
    bands = len(counts)
    return [
        (
            f"{band / bands:.2f} to {(band + 1) / bands:.2f}",
            counts[band],
            "#" * math.ceil(_BAR_CHARACTERS * counts[band] / max(counts)),
        )
        for band in reversed(range(bands))
        if counts[band]
    ]


def _run_row(run: Mapping[str, Any]) -> "Row":
    name = f"{run['command']} --dry-run" if run["dry_run"] else run["command"]
    if run["report"] is None:
        return run["started_at"], name, None, None, None, None, "running, or killed"
    files, pairs, seconds = (run["report"][key] for key in ("files", "pairs", "seconds"))
    error = f": {run['error'].splitlines()[0]}" if run["error"] else ""
    return (
        run["started_at"],
        name,
        files["new"],
        pairs["matched"],
        pairs["posted"],
        seconds["total"],
        f"exit {run['exit_code']}{error}",
    )
