"""Ingest files: fetch their thumbnails from Hydrus, prepare them and save both."""

import logging
import time
from collections.abc import Sequence, Set
from functools import partial
from typing import Final

from hydindex.common.batches import batched
from hydindex.common.threads import cores, map_unordered, thread_pool
from hydindex.hydrus.client import FILES_PER_REQUEST, HydrusClient
from hydindex.hydrus.thumbnails import ThumbnailSource, describe
from hydindex.matching.method import Method
from hydindex.pipeline.run_context import RunContext
from hydindex.pipeline.run_report import FileCounts, RunReport, StageSeconds, Steps
from hydindex.records.files import (
    FetchFailure,
    FileMetadata,
    FileRef,
    PreparedFile,
    Thumbnail,
    UnusableFile,
)
from hydindex.store.store import Store

log = logging.getLogger(__name__)

# Files per transaction, each of which waits for the disk.
_SAVE_BATCH: Final = 32
# Files fetched and prepared in advance, about 40 KB each, so that Hydrus stays busy while others
# are compared. A run that is killed loses these.
_FETCH_AHEAD: Final = 256
# Stored files prepared in one transaction.
_PREPARE_BATCH: Final = 256

Outcome = PreparedFile | UnusableFile | FetchFailure


def ingest(
    files: Sequence[FileRef],
    run: RunContext,
    client: HydrusClient,
    *,
    keep_pictures_of: Set[str] = frozenset(),
) -> Steps:
    """Ingest files in batches. New files are added, known ones replaced.

    A file in `keep_pictures_of` (SHA-256) keeps its stored picture if Hydrus serves none now:
    Hydrus may have lost its copy.
    """
    if not files:
        return
    run.method.require_usable()
    source = ThumbnailSource(client)

    def fetch_and_prepare(file: FileMetadata | FetchFailure) -> tuple[Outcome, float]:
        """Return what became of a file, and how long its thumbnail took to prepare."""
        fetched = source.thumbnail(file) if isinstance(file, FileMetadata) else file
        started = time.thread_time()
        outcome = _prepare(fetched, run.method) if isinstance(fetched, Thumbnail) else fetched
        if isinstance(outcome, UnusableFile) and outcome.file.sha256 in keep_pictures_of:
            outcome = FetchFailure(outcome.file.ref(), outcome.reason)
        return outcome, time.thread_time() - started

    batch: list[tuple[Outcome, float]] = []
    with (
        thread_pool(run.config.max_connections, "ingest") as threads,
        run.progress("Fetching", len(files), "file") as bar,
    ):
        requests = batched(files, FILES_PER_REQUEST)
        described = map_unordered(partial(describe, client), requests, threads, ahead=2)
        each_file = (file for description in described for file in description)
        try:
            for outcome in map_unordered(fetch_and_prepare, each_file, threads, ahead=_FETCH_AHEAD):
                bar.update(1)
                batch.append(outcome)
                if len(batch) == _SAVE_BATCH:
                    step = _save(batch, run.store)
                    batch = []  # not before: if saving is interrupted, it is repeated
                    yield step
        except GeneratorExit:  # the run was stopped while it did something else
            _save(batch, run.store)
            raise
        except BaseException:  # the run was stopped, or Hydrus fails
            yield _save(batch, run.store)
            raise
        yield _save(batch, run.store)


def is_last_step(step: RunReport) -> bool:
    """Return whether `ingest` ends after this step: no file is left, or the run fails."""
    return step.files.ingested + step.files.not_fetched < _SAVE_BATCH


def _prepare(thumbnail: Thumbnail, method: Method) -> PreparedFile | UnusableFile:
    prepared = method.prepare(thumbnail.picture)
    if isinstance(prepared, str):
        return UnusableFile(thumbnail.file, prepared)
    return PreparedFile(thumbnail, prepared)


def _save(batch: Sequence[tuple[Outcome, float]], store: Store) -> RunReport:
    files: list[PreparedFile | UnusableFile] = []
    for outcome, _ in batch:
        if isinstance(outcome, FetchFailure):
            log.warning("not fetched: %s: %s", outcome.file.sha256, outcome.reason)
            continue
        if isinstance(outcome, UnusableFile):
            log.info("unusable: %s: %s", outcome.file.sha256, outcome.reason)
        files.append(outcome)
    store.files.save(files)
    prepare_s = sum(seconds for _, seconds in batch) / cores()
    return RunReport(
        files=FileCounts(ingested=len(files), not_fetched=len(batch) - len(files)),
        seconds=StageSeconds(prepare=prepare_s),
    )


def prepare_stored(run: RunContext) -> Steps:
    """Prepare again the stored thumbnails that a rebuild has marked."""
    total = run.store.files.unprepared_count()
    if total == 0:
        return
    run.method.require_usable()
    with (
        thread_pool(cores(), "prepare") as threads,
        run.progress("Preparing", total, "file") as bar,
    ):
        while batch := run.store.files.unprepared(_PREPARE_BATCH):
            ids, pictures = zip(*batch, strict=True)
            prepared = threads.map(run.method.prepare, pictures)
            run.store.files.save_prepared(zip(ids, prepared, strict=True))
            bar.update(len(batch))
            yield RunReport()
