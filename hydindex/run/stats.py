"""`hydindex stats`: what the index holds, and what needs attention."""

from dataclasses import dataclass

from hydindex.config import Config
from hydindex.index.decisions import ScoreBand
from hydindex.index.index import Index
from hydindex.index.runs import RecordedRun
from hydindex.index.summary import Summary
from hydindex.recipe import RecipeChange, recipe_of

RUNS_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Stats:
    """The state of an index. `changes` are config keys for which a rebuild is due."""

    path: str
    size_bytes: int
    summary: Summary
    changes: list[RecipeChange]
    latest_runs: list[RecordedRun]
    by_score: list[ScoreBand]


def gather(index: Index, config: Config) -> Stats:
    """Collect what there is to know of an index."""
    files = (index.path, index.path.with_name(f"{index.path.name}-wal"))
    return Stats(
        path=str(index.path),
        size_bytes=sum(file.stat().st_size for file in files if file.exists()),
        summary=index.summary(),
        changes=index.recipe_changes(recipe_of(config)),
        latest_runs=index.runs.latest(RUNS_SHOWN),
        by_score=index.decisions.by_score(calibrated=config.decision.method == "calibrated"),
    )
