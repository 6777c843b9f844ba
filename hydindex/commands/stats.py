"""`hydindex stats`: what the index holds, and what needs attention."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final

from hydindex.commands.options import DEFAULT_CONFIG, AsJson, ConfigPath, open_session
from hydindex.common import clock

if TYPE_CHECKING:
    from hydindex.commands.console import Console, Row
    from hydindex.config.settings import Config
    from hydindex.matching.recipe import RecipeChange
    from hydindex.store.decision_log import ScoreBand
    from hydindex.store.run_log import RecordedRun
    from hydindex.store.store import Store
    from hydindex.store.summary import Summary

RUNS_SHOWN: Final = 5
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


@dataclass(frozen=True, slots=True)
class Stats:
    """The state of an index.

    `changes`: config keys that require a rebuild. `decisions`: the user's decisions by score.
    `score_counts`: matching pairs by score, in equal bands from 0 to 1. `min_score`: the score
    from which a pair matches. `last_good_update`: when one last ended without an error.
    """

    path: str
    size_bytes: int
    summary: "Summary"
    changes: "list[RecipeChange]"
    latest_runs: "list[RecordedRun]"
    decisions: "list[ScoreBand]"
    score_counts: list[int]
    min_score: float
    last_good_update: str | None

    @property
    def days_since_update(self) -> float | None:
        """How many days ago an update last ended without an error."""
        return None if self.last_good_update is None else clock.days_since(self.last_good_update)

    def attention(self) -> list[str]:
        """Return what needs the user's attention, one line each, the most urgent first."""
        lines = [f"the config changed ({change}): run hydindex rebuild" for change in self.changes]
        days = self.days_since_update
        if days is None:
            lines.append("no update has finished without an error yet")
        elif days >= _OVERDUE_DAYS:
            lines.append(f"the last successful update was {days:,.0f} days ago")
        if self.latest_runs and self.latest_runs[0].error:
            lines.append(f"the last run failed: {self.latest_runs[0].error.splitlines()[0]}")
        for reason, count in self.summary.refusal_reasons.items():
            lines.append(f"refused pairs ({count:,}): {reason}")
        for reason, count in self.summary.unusable_reasons.items():
            lines.append(f"unusable files ({count:,}): {reason}")
        return lines


def gather_stats(store: "Store", config: "Config") -> Stats:
    """Collect the state of an index."""
    from hydindex.matching.method import method_for
    from hydindex.matching.recipe import recipe_changes

    method = method_for(config)
    files = (store.path, store.path.with_name(f"{store.path.name}-wal"))
    return Stats(
        path=str(store.path),
        size_bytes=sum(file.stat().st_size for file in files if file.exists()),
        summary=store.summary(),
        changes=recipe_changes(store, config),
        latest_runs=store.runs.latest(RUNS_SHOWN),
        decisions=store.decisions.by_score(calibrated=method.has_probabilities),
        score_counts=store.pairs.score_counts(calibrated=method.has_probabilities),
        min_score=method.min_score,
        last_good_update=store.runs.last_good_update(),
    )


def show_stats(console: "Console", stats: Stats) -> None:
    """Show the state of an index.

    `attention`: what needs attention, in words. `files.waiting`: present, but not compared yet;
    `files.unusable` and `pairs.refusals`: counts by reason. `pairs.doubtful`: pairs that wait for
    frame verification. `decisions`: your decisions on posted pairs by score, from `lowest` to below
    `highest`; `precision` is the share that were not false positives. `scores.bands`: matching
    pairs in 20 equal bands from 0 to 1. `changes`: config keys that require a rebuild. `runs`: the
    latest first; `report` is null while a run is going on, or if it was killed.
    """
    summary = stats.summary
    console.print_json(
        "stats",
        index={"path": stats.path, "size_bytes": stats.size_bytes},
        files={
            "comparable": summary.comparable_files,
            "waiting": summary.waiting_files,
            "unusable": summary.unusable_reasons,
            "gone": summary.gone_files,
        },
        pairs={
            "states": summary.pair_states,
            "refusals": summary.refusal_reasons,
            "doubtful": summary.doubtful_pairs,
        },
        decisions=[{**asdict(band), "precision": band.precision} for band in stats.decisions],
        scores={"matching_from": stats.min_score, "bands": stats.score_counts},
        changes=[asdict(change) for change in stats.changes],
        days_since_update=stats.days_since_update,
        attention=stats.attention(),
        runs=[asdict(run) for run in stats.latest_runs],
    )
    if attention := stats.attention():
        console.print("Needs attention")
        for line in attention:
            console.print(f"  ! {line}")
    console.print(f"Index {stats.path}, {stats.size_bytes / 1e6:,.1f} MB")
    console.table(
        "Files",
        {
            "compared": summary.comparable_files,
            "waiting to be compared": summary.waiting_files,
            "unusable": sum(summary.unusable_reasons.values()),
            "gone from Hydrus": summary.gone_files,
        },
    )
    doubtful = {"waiting for frame verification": summary.doubtful_pairs}
    console.table("Pairs", summary.pair_states | (doubtful if summary.doubtful_pairs else {}))
    console.columns(
        f"Scores of matching pairs (a pair matches from {stats.min_score:.2f})",
        ("score", "pairs", ""),
        _histogram(stats.score_counts, stats.min_score),
    )
    if any(band.decided for band in stats.decisions):
        console.columns(
            "Your decisions on posted pairs, by score",
            ("score", "right", "duplicates", "alternates", "false positives", "open"),
            [_decision_row(band) for band in stats.decisions],
        )
    console.columns(
        "Latest runs",
        ("started", "command", "new files", "matches", "posted", "seconds", "result"),
        [_run_row(run) for run in stats.latest_runs],
    )


def _histogram(counts: Sequence[int], min_score: float) -> "list[Row]":
    """Draw how many pairs have which score, the highest first, down to `min_score`."""
    highest, bands = max(counts), len(counts)
    if not highest:
        return []
    lowest_used = next(band for band, count in enumerate(counts) if count)
    lowest = min(lowest_used, int(round(min_score * bands, 9)))
    return [
        (
            f"{band / bands:.2f} to {(band + 1) / bands:.2f}",
            counts[band],
            "#" * math.ceil(_BAR_CHARACTERS * counts[band] / highest),
        )
        for band in reversed(range(lowest, bands))
    ]


def _decision_row(band: "ScoreBand") -> "Row":
    return (
        f"{band.lowest:.2f} to {band.highest:.2f}",
        "" if band.precision is None else f"{band.precision:.0%}",
        band.duplicate,
        band.alternate,
        band.false_positive,
        band.open,
    )


def _run_row(run: "RecordedRun") -> "Row":
    name = f"{run.command} --dry-run" if run.dry_run else run.command
    if run.report is None:
        return run.started_at, name, None, None, None, None, "running, or killed"
    files, pairs = run.report["files"], run.report["pairs"]
    return (
        run.started_at,
        name,
        files["new"],
        pairs["matched"],
        pairs["posted"],
        run.report["seconds"]["total"],
        f"exit {run.exit_code}" + (f": {run.error.splitlines()[0]}" if run.error else ""),
    )
