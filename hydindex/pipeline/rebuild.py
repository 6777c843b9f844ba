"""`hydindex rebuild`: redoes what a change of the config makes necessary, and nothing else."""

import logging
from dataclasses import dataclass, replace

import numpy as np

from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.matching.candidates import CandidateRules, find_candidates
from hydindex.matching.matcher import matcher_for
from hydindex.matching.recipe import RecipeChange, needs_preparation, recipe_of
from hydindex.pipeline.compare import compare_waiting
from hydindex.pipeline.ingest import ingest, prepare_stored
from hydindex.pipeline.run_report import Progress, Report
from hydindex.pipeline.search import search_library
from hydindex.records.files import NOT_COMPARED, FileRef, hex_hashes
from hydindex.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a rebuild would redo: exactly, but for `pairs`, how many it would score at the most."""

    changes: list[RecipeChange]
    files_to_fetch: int
    files_to_prepare: int
    files_to_compare: int
    pairs: int


def plan_rebuild(index: Store, config: Config, *, refetch: bool) -> RebuildPlan:
    """Say what `rebuild` would do, changing nothing."""
    found = index.recipe_changes(recipe_of(config))
    prepares_all = refetch or needs_preparation(found)
    unprepared = index.files.unprepared_count()
    comparable = index.comparisons.comparable()
    waits = comparable.compared_since == NOT_COMPARED
    if found or refetch:
        waits = np.ones(len(comparable), np.bool_)
    rules = CandidateRules.of(config)
    if refetch or unprepared or any(change.key == "ahash.resize" for change in found):
        # Average hashes that are yet to be computed cannot tell which pairs they will spare.
        rules = replace(rules, hamming_max=None)
    return RebuildPlan(
        changes=found,
        files_to_fetch=int(index.files.indexed().present.sum()) if refetch else 0,
        files_to_prepare=index.files.pictured_count() if prepares_all else unprepared,
        files_to_compare=int(waits.sum()),
        pairs=sum(
            len(rivals)
            for _, rivals in find_candidates(comparable[waits], comparable[~waits], rules)
        ),
    )


def rebuild(
    index: Store,
    config: Config,
    report: Report,
    progress: Progress,
    *,
    refetch_from: HydrusClient | None = None,
) -> None:
    """Bring the index to the present config, from the thumbnails that it holds.

    Newly matching pairs are queued, for the next update to post. A pair that was ever sent keeps
    its state, whether it still matches or not. With `refetch_from`, files are fetched again first,
    and all is redone with what has come.

    Raises:
        HydrusUnreachable, HydrusAccessDenied, HydrusBadReply, ConfigError: only with
            `refetch_from`; raised before anything is changed, unless Hydrus fails later on.

    Taking up the new config is one transaction: a rebuild that is interrupted goes on later, by
    itself or in an update.
    """
    to_fetch: list[FileRef] = []
    pictured: set[str] = set()
    if refetch_from is not None:
        refetch_from.version()
        refetch_from.require_permissions()
        indexed = index.files.indexed()
        found_files = search_library(refetch_from, config, report)
        to_fetch = found_files.chosen(np.isin(found_files.sha256, indexed.sha256[indexed.present]))
        pictured = set(hex_hashes(indexed.sha256[indexed.pictured]))

    recipe = recipe_of(config)
    index.begin_with(recipe)
    found = index.recipe_changes(recipe)
    for change in found:
        log.info("changed: %s", change)
    if found or refetch_from is not None:
        prepares_all = refetch_from is not None or needs_preparation(found)
        index.copy_aside(before="rebuild")
        index.comparisons.restart(recipe, prepare_again=prepares_all)

    if refetch_from is not None:
        ingest(to_fetch, index, refetch_from, config, report, progress, pictured=pictured)
        if report.not_fetched:
            log.warning(
                "%d files could not be fetched and are kept as they were; "
                "hydindex rebuild --refetch tries again",
                report.not_fetched,
            )
    prepare_stored(index, config, report, progress)
    with matcher_for(config, index.files, report.sieve) as judge:
        compare_waiting(index, config, judge, report, progress)
    report.files.indexed, report.files.unusable = index.files.present_counts()
    report.files.found = report.files.indexed + report.files.unusable
    report.second_look.waiting = index.second_look.waiting_count()
    report.pairs.queued = index.outbox.count_sendable()
