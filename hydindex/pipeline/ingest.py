"""Ingest files: fetch their thumbnails from Hydrus, prepare them and save both."""

import logging
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence, Set
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Final

from hydindex.common.batches import batched
from hydindex.common.threads import map_unordered, thread_pool
from hydindex.hydrus.client import FILES_PER_REQUEST, HydrusClient
from hydindex.hydrus.thumbnails import ThumbnailSource
from hydindex.pipeline.run_context import RunContext
from hydindex.pipeline.run_report import FileCounts, RunReport, StageSeconds
from hydindex.records.files import (
    FetchFailure,
    FileMetadata,
    FileRef,
    PreparedFile,
    Thumbnail,
    UnusableFile,
)

log = logging.getLogger(__name__)

# Files per transaction, each of which waits for the disk.
SAVE_BATCH: Final = 32
# Files fetched and prepared in advance, about 40 KB each, so that Hydrus stays busy while others
# are compared. A run that is killed loses these.
FETCH_AHEAD: Final = 256


@dataclass(frozen=True, slots=True)
class _Ingested:
    """What became of a file, and how long its thumbnail took to prepare."""

    outcome: PreparedFile | UnusableFile | FetchFailure
    prepare_s: float = 0.0


def ingest(
    files: Sequence[FileRef],
    run: RunContext,
    client: HydrusClient,
    *,
    keep_pictures_of: Set[str] = frozenset(),
) -> Generator[RunReport, None, None]:
    """Ingest files in batches of SAVE_BATCH. New files are added, known ones replaced.

    A smaller batch is the last one: all files have come, or the run is about to end.

    A file in `keep_pictures_of` (SHA-256) keeps its stored picture if Hydrus serves none now:
    Hydrus may have lost its copy.
    """
    if not files:
        return
    with (
        _fetched(files, run, client) as results,
        closing(_save_batches(results, run, keep_pictures_of)) as steps,
    ):
        for _, report in run.progress(
            steps, stage="Fetching", total=len(files), unit="file", done=lambda step: step[0]
        ):
            yield report


def _save_batches(
    results: Iterator[_Ingested], run: RunContext, keep_pictures_of: Set[str]
) -> Generator[tuple[int, RunReport], None, None]:
    """Save files as they come; yield how many came, and the counts."""
    batch: list[PreparedFile | UnusableFile] = []
    counts, prepare_s, came = FileCounts(), 0.0, 0

    def save() -> tuple[int, RunReport]:
        nonlocal counts, prepare_s, came
        run.store.files.save(batch)
        counts.ingested = len(batch)
        step = came, RunReport(files=counts, seconds=StageSeconds(prepare=prepare_s / _cores()))
        batch.clear()
        counts, prepare_s, came = FileCounts(), 0.0, 0
        return step

    try:
        for result in results:
            outcome, came = result.outcome, came + 1
            prepare_s += result.prepare_s
            if isinstance(outcome, UnusableFile) and outcome.file.sha256 in keep_pictures_of:
                outcome = FetchFailure(outcome.file.ref(), outcome.reason)
            if isinstance(outcome, FetchFailure):
                counts.not_fetched += 1
                log.warning("not fetched: %s: %s", outcome.file.sha256, outcome.reason)
                continue
            if isinstance(outcome, UnusableFile):
                log.info("unusable: %s: %s", outcome.file.sha256, outcome.reason)
            batch.append(outcome)
            if len(batch) == SAVE_BATCH:
                yield save()
        yield save()
    except GeneratorExit:  # the run was stopped while it did something else
        run.store.files.save(batch)
        raise
    except BaseException:  # the run is stopped, or Hydrus fails: keep and count what came so far
        yield save()
        raise


@contextmanager
def _fetched(
    files: Sequence[FileRef], run: RunContext, client: HydrusClient
) -> Iterator[Iterator[_Ingested]]:
    """Fetch and prepare files in threads, while the caller does something else."""
    source = ThumbnailSource(client)

    def fetch(file: FileMetadata | FetchFailure) -> Callable[[], _Ingested]:
        """Fetch a thumbnail, and hand it to the threads that prepare."""
        fetched = source.thumbnail(file) if isinstance(file, FileMetadata) else file
        if not isinstance(fetched, Thumbnail):
            return lambda: _Ingested(fetched)
        return preparing.submit(prepare, fetched).result

    def prepare(thumbnail: Thumbnail) -> _Ingested:
        started = time.perf_counter()
        prepared = run.method.prepare(thumbnail.picture)
        elapsed_s = time.perf_counter() - started
        if isinstance(prepared, str):
            return _Ingested(UnusableFile(thumbnail.file, prepared), elapsed_s)
        return _Ingested(PreparedFile(thumbnail, prepared), elapsed_s)

    with (
        thread_pool(run.config.max_connections, "fetch") as fetching,
        thread_pool(_cores(), "prepare") as preparing,
    ):
        requests = batched(files, FILES_PER_REQUEST)
        described = map_unordered(source.describe, requests, fetching, ahead=2)
        each = (file for batch in described for file in batch)
        yield (result() for result in map_unordered(fetch, each, fetching, ahead=FETCH_AHEAD))


def prepare_stored(run: RunContext) -> Generator[RunReport, None, None]:
    """Prepare again the stored thumbnails that a rebuild has marked."""
    total = run.store.files.unprepared_count()
    if total == 0:
        return

    def batches() -> Iterator[int]:
        while batch := run.store.files.unprepared(FETCH_AHEAD):
            ids, pictures = zip(*batch, strict=True)
            prepared = threads.map(run.method.prepare, pictures)
            run.store.files.save_prepared(zip(ids, prepared, strict=True))
            yield len(ids)

    with thread_pool(_cores(), "prepare") as threads:
        for _ in run.progress(
            batches(), stage="Preparing", total=total, unit="file", done=lambda count: count
        ):
            yield RunReport()


def _cores() -> int:
    return os.cpu_count() or 1
