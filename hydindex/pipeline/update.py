"""`hydindex update` on one page: index what is new, compare it, post what matches."""

import logging
from collections.abc import Generator
from contextlib import closing
from datetime import timedelta

from hydindex.common import clock
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.pipeline.compare import compare
from hydindex.pipeline.frame_verification import require_decoder, verify_doubtful
from hydindex.pipeline.ingest import FETCH_AHEAD, SAVE_BATCH, ingest, prepare_stored
from hydindex.pipeline.library_diff import LibraryDiff, diff_library
from hydindex.pipeline.posting import Poster, refusal_hint
from hydindex.pipeline.posting_plan import PostingPlan, plan_posting
from hydindex.pipeline.run_context import RunContext, run_context
from hydindex.pipeline.run_report import (
    FileCounts,
    PairCounts,
    Progress,
    RunReport,
    stopwatch,
    timed,
)
from hydindex.pipeline.search import search_library
from hydindex.pipeline.user_decisions import record_decisions
from hydindex.records.files import FileRef, SearchResult
from hydindex.store.store import Store

log = logging.getLogger(__name__)

Steps = Generator[RunReport, None, None]


def update(
    store: Store, client: HydrusClient, config: Config, progress: Progress, *, dry_run: bool
) -> Steps:
    """Search, ingest new files, compare them, verify doubtful pairs, and post what matches.

    Yields what each step did. Every step saves its result, so that after an interruption the next
    run continues. A dry run does the same, but changes nothing in Hydrus: pairs stay queued.

    Raises:
        HydrusUnreachable, HydrusAccessDenied, HydrusBadReply: Hydrus can't be used.
        ConfigError: Hydrus can't parse the tags, or PyAV is missing.
    """
    require_decoder(config)
    hydrus_version = client.version()
    client.require_permissions()
    with run_context(store, config, progress) as run:
        total = RunReport()
        for step in _update(run, client, dry_run=dry_run):
            total += step
            yield step
    if total.pairs.refused:
        log.warning(
            "Hydrus refused %d pairs. %s", total.pairs.refused, refusal_hint(hydrus_version)
        )


def _update(run: RunContext, client: HydrusClient, *, dry_run: bool) -> Steps:
    poster = Poster(run.store, client, run.config.post)
    yield from timed("post", poster.settle_interrupted(dry_run=dry_run))

    with stopwatch("search") as search:
        found = search_library(client, run.config.tags)
        changes = _record_changes(found, run.store)
    yield search + RunReport(
        files=FileCounts(
            found=len(found),
            new=len(changes.new),
            gone=len(changes.gone),
            returned=len(changes.returned),
        )
    )
    _forget_long_gone(run, present=len(found))

    yield from _ingest_and_compare(changes.new + changes.recheck, run, client)

    with stopwatch("post") as decisions:
        record_decisions(run.store, client)
    yield decisions
    if run.config.frames.enabled:
        if not dry_run:  # certain pairs need not wait for videos
            yield from timed("post", poster.carry_out(_plan(run, poster), dry_run=False))
        yield from timed("verify_frames", verify_doubtful(found, run, client))
    plan = _plan(run, poster)
    held_back = yield from timed("post", poster.carry_out(plan, dry_run=dry_run))

    indexed, unusable = run.store.files.present_counts()
    queued = run.store.outbox.count_sendable() - len(poster.refused)
    yield RunReport(
        files=FileCounts(indexed=indexed, unusable=unusable),
        pairs=PairCounts(queued=queued),
        held_back=held_back,
    )


def _ingest_and_compare(files: list[FileRef], run: RunContext, client: HydrusClient) -> Steps:
    """Ingest files, and compare those already saved while others are being fetched."""
    uncompared = 0
    with closing(timed("fetch", ingest(files, run, client))) as ingested:
        for step in ingested:
            yield step
            uncompared += step.files.ingested
            is_last = step.files.ingested < SAVE_BATCH  # then the run may be about to end
            if uncompared >= FETCH_AHEAD and not is_last:
                uncompared = 0
                yield from timed("compare", compare(run, show_progress=False))
    yield from timed("prepare", prepare_stored(run))
    yield from timed("compare", compare(run))


def _record_changes(found: SearchResult, store: Store) -> LibraryDiff:
    """Record which files are present, and return what is new, gone or back."""
    indexed = store.files.indexed()
    changes = diff_library(found, indexed)
    store.files.record_presence(gone=changes.gone, returned=changes.returned)
    were_present = int(indexed.present.sum())
    if 2 * len(found) < were_present:
        log.warning(
            "Hydrus finds %d files; the last run found %d. If that is a mistake (wrong tags, "
            "another Hydrus database), fix it and run again: the index keeps everything about the "
            "%d files that are gone.",
            len(found),
            were_present,
            len(changes.gone),
        )
    return changes


def _forget_long_gone(run: RunContext, *, present: int) -> None:
    """Delete the thumbnails of files that have been gone for `index.forget_gone_days`."""
    days = run.config.index.forget_gone_days
    if days is None:
        return
    long_gone = run.store.files.gone_before(clock.ago(timedelta(days=days)))
    if len(long_gone) > present:
        # Files that were deleted one by one don't outnumber the rest: the search is wrong.
        log.warning(
            "%d files have been gone for %d days, but only %d are present: "
            "no thumbnails are deleted",
            len(long_gone),
            days,
            present,
        )
        return
    run.store.files.forget_pictures(long_gone)
    if long_gone:
        log.info("deleted the thumbnails of %d files gone for %d days", len(long_gone), days)


def _plan(run: RunContext, poster: Poster) -> PostingPlan:
    settings = run.config.post
    queued = [each for each in run.store.outbox.sendable() if each.pair not in poster.refused]
    linked = run.store.decisions.linked() if settings.pairs == "spanning" else ()
    return plan_posting(queued, linked, settings, posted=poster.posted)
