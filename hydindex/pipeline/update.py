"""`hydindex update`: brings the index up to date and posts what looks alike."""

import logging
from datetime import timedelta

from hydindex.common import clock
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.matching.matcher import matcher_for
from hydindex.pipeline.compare import compare_waiting
from hydindex.pipeline.frame_verification import FrameVerifier, require_decoder
from hydindex.pipeline.ingest import ingest, prepare_stored
from hydindex.pipeline.library_diff import LibraryDiff, diff
from hydindex.pipeline.posting import Poster, refusal_hint
from hydindex.pipeline.run_report import Progress, Report, unseen
from hydindex.pipeline.search import search_library
from hydindex.pipeline.user_decisions import note_decisions
from hydindex.records.files import SearchResult
from hydindex.store.store import Store

log = logging.getLogger(__name__)


def update(
    index: Store,
    client: HydrusClient,
    config: Config,
    report: Report,
    progress: Progress,
    *,
    dry_run: bool,
) -> None:
    """Find what is new, take it in, compare it, look again where in doubt, and post what matches.

    Every step saves as it goes, so whatever ends this early, the next run goes on from there.
    A dry run does the same but changes nothing in Hydrus: the pairs stay queued.

    Raises:
        HydrusUnreachable, HydrusAccessDenied, HydrusBadReply: Hydrus cannot be worked with.
        ConfigError: Hydrus cannot parse the tags, or PyAV is missing for a second look.
    """
    require_decoder(config)
    hydrus_version = client.version()
    client.require_permissions()
    poster = Poster(index, client, config, report)
    with report.timed("post"):
        poster.settle_interrupted(dry_run=dry_run)

    found = search_library(client, config, report)
    changed = _note_changes(found, index, report)
    _forget_long_gone(index, config, present=len(found))
    with matcher_for(config, index.files, report.sieve) as judge:
        if changed.new:
            with report.timed("compare"):
                judge.get_ready()
        ingest(
            changed.new + changed.recheck,
            index,
            client,
            config,
            report,
            progress,
            meanwhile=lambda: compare_waiting(index, config, judge, report, unseen),
        )
        prepare_stored(index, config, report, progress)
        compare_waiting(index, config, judge, report, progress)
    looks_again = config.frames.enabled
    with report.timed("post"):
        note_decisions(index, client)
        if looks_again and not dry_run:  # what is beyond doubt need not wait for videos
            poster.post_waiting(progress, dry_run=False)
    if looks_again:
        with report.timed("look"):
            FrameVerifier(found, index, client, config, report).settle_waiting(progress)
    with report.timed("post"):
        poster.post_waiting(progress, dry_run=dry_run)

    report.files.indexed, report.files.unusable = index.files.present_counts()
    if report.not_fetched:
        log.warning("%d files could not be fetched; the next run tries again", report.not_fetched)
    if report.pairs.refused:
        log.warning(
            "Hydrus refused %d pairs. %s", report.pairs.refused, refusal_hint(hydrus_version)
        )


def _note_changes(found: SearchResult, index: Store, report: Report) -> LibraryDiff:
    """Find out what is new, gone or returned, and record which files are there."""
    with report.timed("search"):
        indexed = index.files.indexed()
        changed = diff(found, indexed)
        index.files.record_presence(gone=changed.gone, returned=changed.returned)
    was_there = int(indexed.present.sum())
    if 2 * len(found) < was_there:
        log.warning(
            "Hydrus finds %d files, where %d of the index were there before. If that is a mistake "
            "(the tags, another Hydrus database), mend it: all that is known of the %d that are "
            "gone is kept, and they come back as they were.",
            len(found),
            was_there,
            len(changed.gone),
        )
    report.files.found = len(found)
    report.files.new = len(changed.new)
    report.files.gone = len(changed.gone)
    report.files.returned = len(changed.returned)
    return changed


def _forget_long_gone(index: Store, config: Config, *, present: int) -> None:
    """Give up the pictures of files that are gone for as long as the config says, if it says."""
    if config.index.forget_gone_days is None:
        return
    long_gone = index.files.gone_before(clock.ago(timedelta(days=config.index.forget_gone_days)))
    if len(long_gone) > present:
        # They did not go one by one: an empty or a wrong library was searched, for however long.
        log.warning(
            "%d files are gone for %d days, more than are there (%d): nothing of them is forgotten",
            len(long_gone),
            config.index.forget_gone_days,
            present,
        )
        return
    index.files.forget_pictures(long_gone)
    if long_gone:
        log.info("forgot the pictures of %d files that are long gone", len(long_gone))
