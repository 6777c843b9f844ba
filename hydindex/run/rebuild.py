"""`hydindex rebuild`: redoes what a change of the config makes necessary, and nothing else."""

import logging
from dataclasses import dataclass, replace

from hydindex.config import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.index.index import Index
from hydindex.match.buckets import duration_buckets
from hydindex.match.candidates import CandidateRules, find_candidates
from hydindex.model import Comparables
from hydindex.recipe import RecipeChange, needs_preparation, recipe_of
from hydindex.run.compare import compare_waiting
from hydindex.run.intake import prepare_stored, take_in
from hydindex.run.report import Progress, Report
from hydindex.run.search import search_library

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a rebuild would redo. `pairs` is how many it would score, at the most."""

    changes: list[RecipeChange]
    files_to_fetch: int
    files_to_prepare: int
    files_to_compare: int
    pairs: int


def plan_rebuild(index: Index, config: Config, *, refetch: bool) -> RebuildPlan:
    """Say what `rebuild` would do, changing nothing."""
    found = index.recipe_changes(recipe_of(config))
    comparable = index.comparisons.comparable()
    prepares = refetch or needs_preparation(found)
    waiting = comparable if found or refetch else index.comparisons.uncompared()
    rules = CandidateRules.of(config)
    if any(change.key == "ahash.resize" for change in found):
        # The average hashes will be others, so they cannot tell yet which pairs they will spare.
        rules = replace(rules, hamming_max=None)
    return RebuildPlan(
        changes=found,
        files_to_fetch=len(comparable) if refetch else 0,
        files_to_prepare=len(comparable) if prepares else index.files.unprepared_count(),
        files_to_compare=len(waiting),
        pairs=_count_candidates(waiting, rules),
    )


def rebuild(
    index: Index,
    config: Config,
    report: Report,
    progress: Progress,
    *,
    refetch_from: HydrusClient | None = None,
) -> None:
    """Bring the index to the present config, from the thumbnails that it holds.

    Newly matching pairs are queued, for the next update to post. A pair that was ever sent keeps
    its state, whether it still matches or not. With `refetch_from`, files are fetched again first,
    and those whose metadata or thumbnail has changed are taken in anew.

    Taking up the new config is one transaction: a rebuild that is interrupted goes on later, by
    itself or in an update.
    """
    recipe = recipe_of(config)
    if found := index.recipe_changes(recipe):
        for change in found:
            log.info("changed: %s", change)
        index.comparisons.restart(recipe, prepare_again=needs_preparation(found))
    if refetch_from is not None:
        refetch_from.version()
        refetch_from.require_permissions()
        indexed = {file.sha256 for file in index.files.indexed() if file.present}
        files = search_library(refetch_from, config, report)
        known = [file for file in files if file.sha256 in indexed]
        take_in(known, index, refetch_from, config, report, progress)
    prepare_stored(index, config, report, progress)
    compare_waiting(index, config, report, progress)
    report.files.indexed, report.files.unusable = index.files.present_counts()
    report.files.found = report.files.indexed + report.files.unusable
    report.pairs.queued = len(index.outbox.sendable())


def _count_candidates(waiting: Comparables, rules: CandidateRules) -> int:
    """Count the candidate pairs among files that are sorted by duration."""
    total = 0
    for bucket in duration_buckets(waiting, rules.duration_tolerance_ms):
        # Partners of the same bucket, and longer ones: shorter ones have counted them already.
        longest_ms = bucket.files.duration_ms.max()
        longer = (waiting.duration_ms > longest_ms) & (waiting.duration_ms <= bucket.longest_ms)
        first, _ = find_candidates(bucket.files, waiting[longer], rules)
        total += len(first)
    return total
