"""Takes files into the index: fetched from Hydrus, or prepared again from what is stored."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import repeat
from typing import Final

from hydindex.common.threads import map_ahead
from hydindex.config.settings import Config
from hydindex.hydrus.client import FILES_PER_REQUEST, HydrusClient
from hydindex.hydrus.thumbnails import ThumbnailSource
from hydindex.matching.preparation import Preparation, prepare
from hydindex.matching.threshold.packing import pack
from hydindex.pipeline.run_report import Progress, Report
from hydindex.records.files import (
    FetchFailure,
    FileMetadata,
    FileRef,
    PreparedFile,
    Thumbnail,
    UnusableFile,
)
from hydindex.records.pictures import Packed, Prepared, Signature
from hydindex.store.store import Store

log = logging.getLogger(__name__)

# Each time the disk is waited for.
SAVED_AT_ONCE: Final = 32
# Files fetched and prepared ahead of being saved, so that Hydrus is kept busy while others are
# compared; some 40 KB each. An interruption may cost these.
AHEAD: Final = 256

Outcome = PreparedFile | UnusableFile | FetchFailure


def ingest(
    files: Sequence[FileRef],
    index: Store,
    client: HydrusClient,
    config: Config,
    report: Report,
    progress: Progress,
    *,
    pictured: Set[str] = frozenset(),
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Fetch files, prepare their thumbnails and save both, a few at a time as they come.

    Whatever ends this early, what has been taken is saved, and the next run goes on from there.
    Files that are indexed already are replaced; but a picture that the index holds (`pictured`, by
    SHA-256) is never given up for none: Hydrus may have mislaid its thumbnails.

    `meanwhile` is called each time that many files have been saved, with more on their way.
    """
    if not files:
        return
    judged: list[PreparedFile | UnusableFile] = []
    with _fetched(files, client, config, report) as outcomes:
        try:
            waited_for = report.timed_each("fetch", outcomes)
            for outcome in progress(waited_for, stage="Fetching", total=len(files), unit="file"):
                if isinstance(outcome, UnusableFile) and outcome.file.sha256 in pictured:
                    outcome = FetchFailure(outcome.file.found(), outcome.reason)
                if isinstance(outcome, FetchFailure):
                    report.not_fetched += 1
                    log.warning("not fetched: %s: %s", outcome.file.sha256, outcome.reason)
                    continue
                if isinstance(outcome, UnusableFile):
                    log.info("unusable: %s: %s", outcome.file.sha256, outcome.reason)
                judged.append(outcome)
                if len(judged) == SAVED_AT_ONCE:
                    _save(judged, index, report)
                    if report.saved % AHEAD == 0:
                        meanwhile()
        finally:
            _save(judged, index, report)


def _save(judged: list[PreparedFile | UnusableFile], index: Store, report: Report) -> None:
    index.files.save(judged)
    report.saved += len(judged)
    judged.clear()


def prepare_stored(index: Store, config: Config, report: Report, progress: Progress) -> None:
    """Prepare again the stored thumbnails that a rebuild has marked, a few at a time."""
    preparation = Preparation.of(config)

    def prepared_files() -> Iterator[int]:
        while batch := index.files.unprepared(AHEAD):
            ids, pictures = zip(*batch, strict=True)
            outcomes = threads.map(prepare_and_pack, pictures, repeat(preparation))
            index.files.save_prepared(zip(ids, outcomes, strict=True))
            yield from ids

    total = index.files.unprepared_count()
    if total == 0:
        return
    with report.timed("prepare"), ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in progress(prepared_files(), stage="Preparing", total=total, unit="file"):
            pass


def prepare_and_pack(encoded: bytes, preparation: Preparation) -> Packed | Signature | str:
    """Prepare a thumbnail for the index, or say why that cannot be."""
    prepared = prepare(encoded, preparation)
    return pack(prepared) if isinstance(prepared, Prepared) else prepared


@contextmanager
def _fetched(
    files: Sequence[FileRef], client: HydrusClient, config: Config, report: Report
) -> Iterator[Iterator[Outcome]]:
    """Fetch and prepare files in threads, while the caller does something else."""
    source = ThumbnailSource(client)
    cores = os.cpu_count() or 1
    preparation = Preparation.of(config)

    def fetch_one(described: FileMetadata | FetchFailure) -> Callable[[], Outcome]:
        """Fetch, and hand on to the threads that prepare; those that fetch mostly wait."""
        fetched = source.thumbnail(described) if isinstance(described, FileMetadata) else described
        if not isinstance(fetched, Thumbnail):
            return lambda: fetched
        return preparing.submit(prepare_one, fetched).result

    def prepare_one(fetched: Thumbnail) -> Outcome:
        with report.timed("prepare", threads=cores):
            packed = prepare_and_pack(fetched.picture, preparation)
        if isinstance(packed, str):
            return UnusableFile(fetched.file, packed)
        return PreparedFile(fetched, packed)

    batches = (
        files[start : start + FILES_PER_REQUEST]
        for start in range(0, len(files), FILES_PER_REQUEST)
    )
    fetching = ThreadPoolExecutor(config.max_connections, thread_name_prefix="fetch")
    preparing = ThreadPoolExecutor(cores, thread_name_prefix="prepare")
    try:
        described = map_ahead(source.describe, batches, fetching, ahead=2)
        each = (file for batch in described for file in batch)
        yield (outcome() for outcome in map_ahead(fetch_one, each, fetching, ahead=AHEAD))
    finally:
        # A run that is stopped waits for no answer: threads that still do end with the process.
        fetching.shutdown(wait=False, cancel_futures=True)
        preparing.shutdown(wait=False, cancel_futures=True)
