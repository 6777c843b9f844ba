"""Takes files into the index: fetched from Hydrus, or prepared again from what is stored."""

import logging
from collections.abc import Iterator, Sequence
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
) -> None:
    """Fetch files, prepare their thumbnails and save both, a few at a time as they come.

    Whatever ends this early, what has come is saved, and the next run goes on from there. A file
    that is indexed already is replaced, but only if its metadata or thumbnail has changed.
    """
    if not files:
        return
    preparation = Preparation.of(config)
    outcomes = fetch(client, files, in_flight=config.thumbnails_in_flight)
    outcomes = report.timed_each("fetch", outcomes)
    judged: list[ComparableFile | Unusable] = []
    try:
        for outcome in progress(outcomes, stage="Fetching", total=len(files), unit="file"):
            match outcome:
                case NotFetched(file, reason):
                    report.not_fetched += 1
                    log.warning("not fetched: %s: %s", file.sha256, reason)
                case Unusable():
                    judged.append(outcome)
                case Thumbnail() if not index.files.holds(outcome):
                    with report.timed("prepare"):
                        judged.append(_judge(outcome, preparation))
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


def _judge(thumbnail: Thumbnail, preparation: Preparation) -> ComparableFile | Unusable:
    prepared = prepare(thumbnail.picture, preparation)
    if isinstance(prepared, Prepared):
        return ComparableFile(thumbnail, prepared)
    log.info("unusable: %s: %s", thumbnail.file.sha256, prepared)
    return Unusable(thumbnail.file, prepared)
