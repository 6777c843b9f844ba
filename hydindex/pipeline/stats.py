"""`hydindex stats`: what the index holds, and what needs attention."""

from dataclasses import dataclass
from typing import Final

from hydindex.common import clock
from hydindex.config.settings import Config
from hydindex.matching.recipe import RecipeChange, recipe_changes
from hydindex.store.decision_log import ScoreBand
from hydindex.store.run_log import RecordedRun
from hydindex.store.store import Store
from hydindex.store.summary import Summary

RUNS_SHOWN: Final = 5
# Runs are meant to be nightly.
_OVERDUE_DAYS: Final = 2


@dataclass(frozen=True, slots=True)
class Stats:
    """The state of an index. `changes` are config keys for which a rebuild is due.

    `score_counts` as in `PairList`; `matching_score` is the score from which on a pair matches;
    `last_good_update` is when one last ended without an error, None if none has.
    """

    path: str
    size_bytes: int
    summary: Summary
    changes: list[RecipeChange]
    latest_runs: list[RecordedRun]
    by_score: list[ScoreBand]
    score_counts: list[int]
    matching_score: float
    last_good_update: str | None

    @property
    def days_since_update(self) -> float | None:
        """How many days ago an update last ended without an error."""
        return None if self.last_good_update is None else clock.days_since(self.last_good_update)

    def attention(self) -> list[str]:
        """Say what needs the user's attention, the most urgent first: one line each."""
        said = [
            f"the config has changed ({change}): run hydindex rebuild" for change in self.changes
        ]
        days = self.days_since_update
        if days is None:
            said.append("no update has ended without an error yet")
        elif days >= _OVERDUE_DAYS:
            said.append(f"{days:,.0f} days have passed since the last good update")
        if self.latest_runs and self.latest_runs[0].error:
            said.append(f"the last run ended early: {self.latest_runs[0].error.splitlines()[0]}")
        for reason, count in self.summary.refusal_reasons.items():
            said.append(f"refused pairs ({count:,}): {reason}")
        for reason, count in self.summary.unusable_reasons.items():
            said.append(f"unusable files ({count:,}): {reason}")
        return said


def gather(index: Store, config: Config) -> Stats:
    """Collect what there is to know of an index."""
    calibrated = config.decision.method == "calibrated"
    files = (index.path, index.path.with_name(f"{index.path.name}-wal"))
    return Stats(
        path=str(index.path),
        size_bytes=sum(file.stat().st_size for file in files if file.exists()),
        summary=index.summary(),
        changes=recipe_changes(index, config),
        latest_runs=index.runs.latest(RUNS_SHOWN),
        by_score=index.decisions.by_score(calibrated=calibrated),
        score_counts=index.pairs.score_counts(calibrated=calibrated),
        matching_score=config.matching_score,
        last_good_update=index.runs.last_good_update(),
    )
