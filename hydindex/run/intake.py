"""Takes files into the index: fetched from Hydrus, or prepared again from what is stored."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

from hydindex.config import Config
from hydindex.hydrus.client import FILES_PER_REQUEST, HydrusClient
from hydindex.hydrus.thumbnails import ThumbnailSource
from hydindex.index.index import Index
from hydindex.model import (
    ComparableFile,
    FoundFile,
    NotFetched,
    Prepared,
    RemoteFile,
    Thumbnail,
    Unusable,
)
from hydindex.prepare.thumbnail import Preparation, prepare
from hydindex.run.ahead import map_ahead
from hydindex.run.report import Progress, Report

log = logging.getLogger(__name__)

# What an interruption costs at most; each time the disk is waited for.
SAVED_AT_ONCE: Final = 32
# Files fetched and prepared ahead of being saved, so that Hydrus is kept busy while others are
# compared; some 70 KB each.
AHEAD: Final = 256

Outcome = ComparableFile | Unusable | NotFetched


def take_in(
    files: Sequence[FoundFile],
    index: Index,
    client: HydrusClient,
    config: Config,
    report: Report,
    progress: Progress,
    *,
    pictured: Set[str] = frozenset(),
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Fetch files, prepare their thumbnails and save both, a few at a time as they come.

    Whatever ends this early, what has come is saved, and the next run goes on from there.
    Files that are indexed already are replaced; but a picture that the index holds (`pictured`, by
    SHA-256) is never given up for none: Hydrus may have mislaid its thumbnails.

    `meanwhile` is called each time that many files have been saved, with more on their way.
    """
    if not files:
        return
    judged: list[ComparableFile | Unusable] = []
    saved = 0
    with _fetched(files, client, config, report) as outcomes:
        try:
            waited_for = report.timed_each("fetch", outcomes)
            for outcome in progress(waited_for, stage="Fetching", total=len(files), unit="file"):
                if isinstance(outcome, Unusable) and outcome.file.sha256 in pictured:
                    outcome = NotFetched(outcome.file.found(), outcome.reason)
                if isinstance(outcome, NotFetched):
                    report.not_fetched += 1
                    log.warning("not fetched: %s: %s", outcome.file.sha256, outcome.reason)
                    continue
                if isinstance(outcome, Unusable):
                    log.info("unusable: %s: %s", outcome.file.sha256, outcome.reason)
                judged.append(outcome)
                if len(judged) == SAVED_AT_ONCE:
                    index.files.save(judged)
                    judged = []
                    saved += SAVED_AT_ONCE
                    if saved % AHEAD == 0:
                        meanwhile()
        finally:
            index.files.save(judged)


def prepare_stored(index: Index, config: Config, report: Report, progress: Progress) -> None:
    """Prepare again the stored thumbnails that a rebuild has marked, a few at a time."""
    preparation = Preparation.of(config)

    def prepared_files() -> Iterator[int]:
        while batch := index.files.unprepared(AHEAD):
            outcomes = threads.map(lambda row: (row[0], prepare(row[1], preparation)), batch)
            index.files.save_prepared(outcomes)
            yield from (file_id for file_id, _ in batch)

    total = index.files.unprepared_count()
    if total == 0:
        return
    with report.timed("prepare"), ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in progress(prepared_files(), stage="Preparing", total=total, unit="file"):
            pass


@contextmanager
def _fetched(
    files: Sequence[FoundFile], client: HydrusClient, config: Config, report: Report
) -> Iterator[Iterator[Outcome]]:
    """Fetch and prepare files in threads, while the caller does something else."""
    source = ThumbnailSource(client)
    preparation = Preparation.of(config)

    def outcome_of(described: RemoteFile | NotFetched) -> Outcome:
        if isinstance(described, NotFetched):
            return described
        fetched = source.thumbnail(described)
        if not isinstance(fetched, Thumbnail):
            return fetched
        with report.timed("prepare"):
            prepared = prepare(fetched.picture, preparation)
        if isinstance(prepared, Prepared):
            return ComparableFile(fetched, prepared)
        return Unusable(fetched.file, prepared)

    batches = (
        files[start : start + FILES_PER_REQUEST]
        for start in range(0, len(files), FILES_PER_REQUEST)
    )
    threads = ThreadPoolExecutor(config.thumbnails_in_flight, thread_name_prefix="fetch")
    try:
        described = map_ahead(source.describe, batches, threads, ahead=2)
        each = (file for batch in described for file in batch)
        yield map_ahead(outcome_of, each, threads, ahead=AHEAD)
    finally:
        threads.shutdown(wait=True, cancel_futures=True)
