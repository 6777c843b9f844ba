"""Takes files into the index: fetched from Hydrus, or prepared again from what is stored."""

import logging
from collections.abc import Iterator, Sequence, Set
from typing import Final

from hydindex.config import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.thumbnails import fetch
from hydindex.index.index import Index
from hydindex.model import ComparableFile, FoundFile, NotFetched, Prepared, Thumbnail, Unusable
from hydindex.prepare.thumbnail import Preparation, prepare
from hydindex.run.report import Progress, Report

log = logging.getLogger(__name__)

# What an interruption costs at most; each time the disk is waited for.
SAVED_AT_ONCE: Final = 32


def take_in(
    files: Sequence[FoundFile],
    index: Index,
    client: HydrusClient,
    config: Config,
    report: Report,
    progress: Progress,
    *,
    pictured: Set[str] = frozenset(),
) -> None:
    """Fetch files, prepare their thumbnails and save both, a few at a time as they come.

    Whatever ends this early, what has come is saved, and the next run goes on from there.
    Files that are indexed already are replaced; but a picture that the index holds (`pictured`, by
    SHA-256) is never given up for none: Hydrus may have mislaid its thumbnails.
    """
    if not files:
        return
    preparation = Preparation.of(config)
    outcomes = fetch(client, files, in_flight=config.thumbnails_in_flight)
    outcomes = report.timed_each("fetch", outcomes)
    judged: list[ComparableFile | Unusable] = []
    try:
        for fetched in progress(outcomes, stage="Fetching", total=len(files), unit="file"):
            with report.timed("prepare"):
                outcome = _judge(fetched, preparation)
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
    finally:
        index.files.save(judged)


def prepare_stored(index: Index, config: Config, report: Report, progress: Progress) -> None:
    """Prepare again the stored thumbnails that a rebuild has marked, a few at a time."""
    preparation = Preparation.of(config)

    def prepared_files() -> Iterator[int]:
        while batch := index.files.unprepared(SAVED_AT_ONCE):
            done = [(file_id, prepare(picture, preparation)) for file_id, picture in batch]
            index.files.save_prepared(done)
            yield from (file_id for file_id, _ in done)

    total = index.files.unprepared_count()
    if total == 0:
        return
    with report.timed("prepare"):
        for _ in progress(prepared_files(), stage="Preparing", total=total, unit="file"):
            pass


def _judge(
    fetched: Thumbnail | Unusable | NotFetched, preparation: Preparation
) -> ComparableFile | Unusable | NotFetched:
    """Prepare a thumbnail, if one came; what is trouble already stays as it is."""
    if not isinstance(fetched, Thumbnail):
        return fetched
    prepared = prepare(fetched.picture, preparation)
    if isinstance(prepared, Prepared):
        return ComparableFile(fetched, prepared)
    return Unusable(fetched.file, prepared)
