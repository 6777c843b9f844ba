"""Ask Hydrus which files match the config's tags, and find what has changed since the last run."""

import json
import logging
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import numpy as np

from hydindex.common import clock
from hydindex.common.errors import ConfigError, HydrusRejected
from hydindex.hydrus.client import HydrusClient
from hydindex.pipeline.run_context import RunContext
from hydindex.pipeline.run_report import FileCounts, RunReport
from hydindex.records.files import FileRef, IndexedFiles, SearchResult

log = logging.getLogger(__name__)

HOW_TO_FIX_TAGS: Final = "Fix `tags` in the config; they use the syntax of Hydrus's own search box."


@dataclass(frozen=True, slots=True)
class LibraryDiff:
    """The difference between the search result and the index.

    `new`: files that the index does not know. `recheck`: unusable files that are due for another
    try. `gone`, `returned`: ids of files that are no longer in the search result, or again.
    """

    new: list[FileRef]
    recheck: list[FileRef]
    gone: list[int]
    returned: list[int]


def search_and_diff(
    run: RunContext, client: HydrusClient
) -> Generator[RunReport, None, tuple[SearchResult, LibraryDiff]]:
    """Search; record which files are present, and return what is new, gone or back."""
    search_result = search_library(client, run.config.tags)
    indexed = run.store.files.indexed()
    diff = _diff(search_result, indexed)
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
    long_gone = run.store.files.gone_since_before(clock.ago(timedelta(days=days)))
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


def search_library(client: HydrusClient, tags: Sequence[str | Sequence[str]]) -> SearchResult:
    """Return the files that have all tags, as `search` does; warn if there are none."""
    search_result = search(client, tags)
    if len(search_result) == 0:
        log.warning("Hydrus finds no file with all of these tags: %s", json.dumps(tags))
    return search_result


def search(client: HydrusClient, tags: Sequence[str | Sequence[str]]) -> SearchResult:
    """Return the files that have all tags.

    Raises:
        ConfigError: Hydrus cannot parse one of the tags.
    """
    try:
        return client.search(tags)
    except HydrusRejected as error:
        raise ConfigError(
            f"Hydrus cannot search for `tags`: {error.message}",
            HOW_TO_FIX_TAGS,
        ) from None


def _diff(search_result: SearchResult, indexed: IndexedFiles) -> LibraryDiff:
    """Compare a search result with the index, by SHA-256."""
    _, in_search, in_index = np.intersect1d(
        search_result.sha256, indexed.sha256, assume_unique=True, return_indices=True
    )
    is_new = np.ones(len(search_result), np.bool_)
    is_new[in_search] = False
    is_due = np.zeros(len(search_result), np.bool_)
    is_due[in_search] = indexed.recheck[in_index]
    is_listed = np.zeros(len(indexed), np.bool_)
    is_listed[in_index] = True
    return LibraryDiff(
        new=search_result.select(is_new),
        recheck=search_result.select(is_due),
        gone=indexed.ids[indexed.present & ~is_listed].tolist(),
        returned=indexed.ids[~indexed.present & is_listed].tolist(),
    )
