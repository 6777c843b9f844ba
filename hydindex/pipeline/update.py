"""`hydindex update` on one page: index what is new, compare it, post what matches."""

import logging
from collections.abc import Generator
from contextlib import closing
from datetime import timedelta

from hydindex.common import clock
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.pipeline.compare import compare, preload
from hydindex.pipeline.frame_verification import require_decoder, verify_doubtful
from hydindex.pipeline.ingest import FETCH_AHEAD, SAVE_BATCH, ingest, prepare_stored
from hydindex.pipeline.library_diff import LibraryDiff, diff_library
from hydindex.pipeline.posting import Poster
from hydindex.pipeline.run_context import RunContext, run_context
from hydindex.pipeline.run_report import (
    FileCounts,
    PairCounts,
    Progress,
    RunReport,
    Steps,
    timed,
)
from hydindex.pipeline.search import search_library
from hydindex.pipeline.user_decisions import record_decisions
from hydindex.records.files import FileRef, SearchResult
from hydindex.store.store import Store

log = logging.getLogger(__name__)


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
    poster = Poster(store, client, config.post, dry_run=dry_run)
    with run_context(store, config, progress) as run:
        yield from timed("post", poster.settle_interrupted())
        search_result, diff = yield from timed("search", _search(run, client))
        yield from _ingest_and_compare(diff.new + diff.recheck, run, client)
        yield from timed("post", record_decisions(store, client))
        if config.frames.enabled:
            if not dry_run:  # certain pairs need not wait for videos
                yield from timed("post", poster.post_queued())
            yield from timed("verify_frames", verify_doubtful(search_result, run, client))
        held_back = yield from timed("post", poster.post_queued())

    indexed, unusable = store.files.present_counts()
    yield RunReport(
        files=FileCounts(indexed=indexed, unusable=unusable),
        pairs=PairCounts(queued=poster.count_queued()),
        held_back=held_back,
    )
    poster.warn_if_refused(hydrus_version)


def _search(
    run: RunContext, client: HydrusClient
) -> Generator[RunReport, None, tuple[SearchResult, LibraryDiff]]:
    """Search, and record which files are present."""
    search_result = search_library(client, run.config.tags)
    indexed = run.store.files.indexed()
    diff = diff_library(search_result, indexed)
    run.store.files.record_presence(gone=diff.gone, returned=diff.returned)
    were_present = int(indexed.present.sum())
    if 2 * len(search_result) < were_present:
        log.warning(
            "Hydrus finds %d files; the last run found %d. If that is a mistake (wrong tags, "
            "another Hydrus database), fix it and run again: the index keeps everything about the "
            "%d files that are gone.",
            len(search_result),
            were_present,
            len(diff.gone),
        )
    _forget_long_gone(run, present=len(search_result))
    yield RunReport(
        files=FileCounts(
            found=len(search_result),
            new=len(diff.new),
            gone=len(diff.gone),
            returned=len(diff.returned),
        )
    )
    return search_result, diff


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


def _ingest_and_compare(files: list[FileRef], run: RunContext, client: HydrusClient) -> Steps:
    """Ingest files, and compare those already saved while others are being fetched."""
    if files:
        yield from timed("compare", preload(run))
    uncompared = 0
    with closing(timed("fetch", ingest(files, run, client))) as ingested:
        for step in ingested:
            yield step
            uncompared += step.files.ingested
            is_last = step.files.ingested + step.files.not_fetched < SAVE_BATCH
            if uncompared >= FETCH_AHEAD and not is_last:  # the run may be about to end
                uncompared = 0
                yield from timed("compare", compare(run))
    yield from timed("prepare", prepare_stored(run))
    yield from timed("compare", compare(run))
