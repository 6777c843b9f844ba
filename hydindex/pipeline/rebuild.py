"""`hydindex rebuild`: redo what a changed config requires, and nothing else."""

import logging
from dataclasses import dataclass

import numpy as np

from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.matching.candidates import CandidateRules, find_candidates
from hydindex.matching.method import method_for
from hydindex.matching.recipe import RecipeChange, needs_preparation, recipe_changes, recipe_of
from hydindex.pipeline.compare import compare
from hydindex.pipeline.ingest import ingest, prepare_stored
from hydindex.pipeline.run_context import RunContext, run_context
from hydindex.pipeline.run_report import (
    FileCounts,
    FrameCounts,
    PairCounts,
    Progress,
    RunReport,
    Steps,
    timed,
)
from hydindex.pipeline.search import search_library
from hydindex.records.files import NOT_COMPARED, hex_hashes
from hydindex.store.backup import back_up
from hydindex.store.store import Store

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """What a rebuild would redo. `files_to_fetch` and `max_pairs` are upper bounds."""

    changes: list[RecipeChange]
    files_to_fetch: int
    files_to_prepare: int
    files_to_compare: int
    max_pairs: int


def plan_rebuild(store: Store, config: Config, *, refetch: bool) -> RebuildPlan:
    """Return what `rebuild` would do; change nothing."""
    changes = recipe_changes(store, config)
    prepares_all = refetch or needs_preparation(changes)
    unprepared = store.files.unprepared_count()
    comparable = store.compared_set.comparable()
    is_uncompared = comparable.compared_since == NOT_COMPARED
    if changes or refetch:
        is_uncompared = np.ones(len(comparable), np.bool_)
    uncompared, compared = comparable[is_uncompared], comparable[~is_uncompared]
    if prepares_all or unprepared:
        # What is yet to be computed can't rule out any pair.
        rules = CandidateRules.of(config)
        candidates = find_candidates(uncompared, compared, rules, rules.preselect)
    else:
        candidates = method_for(config).candidates(store.files, uncompared, compared)
    return RebuildPlan(
        changes=changes,
        files_to_fetch=int(store.files.indexed().present.sum()) if refetch else 0,
        files_to_prepare=store.files.pictured_count() if prepares_all else unprepared,
        files_to_compare=len(uncompared),
        max_pairs=sum(len(each) for _, each in candidates),
    )


def rebuild(
    store: Store, config: Config, progress: Progress, *, refetch_from: HydrusClient | None = None
) -> Steps:
    """Apply the config to the index, from the stored thumbnails. Yields what each step did.

    New matches are queued for the next update. A pair that was ever sent keeps its state, whether
    it still matches or not. With `refetch_from`, files are fetched again first. Adopting the
    config is one transaction: an interrupted rebuild continues with the next rebuild or update.

    Raises:
        ConfigError: the method can't run on this machine; nothing is changed.
        HydrusUnreachable, HydrusAccessDenied, HydrusBadReply, ConfigError: with `refetch_from`
            only, before anything is changed or during the fetch.
    """
    with run_context(store, config, progress) as run:
        if refetch_from is None:
            _adopt_config(run, prepare_all=False)
        else:
            yield from _refetch(run, refetch_from)
        yield from timed("prepare", prepare_stored(run))
        yield from timed("compare", compare(run))

    indexed, unusable = store.files.present_counts()
    yield RunReport(
        files=FileCounts(found=indexed + unusable, indexed=indexed, unusable=unusable),
        pairs=PairCounts(queued=store.outbox.count_sendable()),
        frame_verification=FrameCounts(waiting=store.frames.waiting_count()),
    )


def _adopt_config(run: RunContext, *, prepare_all: bool) -> None:
    """Give the index the recipe of the config, after a backup, if anything must be redone."""
    recipe = recipe_of(run.config)
    run.store.set_initial_recipe(recipe)
    changes = recipe_changes(run.store, run.config)
    for change in changes:
        log.info("changed: %s", change)
    if changes or prepare_all:
        run.method.require_usable()
        back_up(run.store.path, before="rebuild")
        run.store.compared_set.restart(
            recipe, prepare_again=prepare_all or needs_preparation(changes)
        )


def _refetch(run: RunContext, client: HydrusClient) -> Steps:
    """Fetch again the files that are present; those that can't be fetched stay as they are."""
    client.version()
    client.require_permissions()
    indexed = run.store.files.indexed()
    search_result = search_library(client, run.config.tags)
    is_present = np.isin(search_result.sha256, indexed.sha256[indexed.present])
    files = search_result.select(is_present)
    pictured = set(hex_hashes(indexed.sha256[indexed.pictured]))
    _adopt_config(run, prepare_all=True)
    not_fetched = 0
    for step in timed("fetch", ingest(files, run, client, keep_pictures_of=pictured)):
        not_fetched += step.files.not_fetched
        yield step
    if not_fetched:
        log.warning(
            "%d files could not be fetched and stay as they were; hydindex rebuild --refetch "
            "tries again",
            not_fetched,
        )
