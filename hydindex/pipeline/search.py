"""Ask Hydrus which files match the config's tags, and find what has changed since the last run."""

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common import clock
from hydindex.common.errors import ConfigError, HydrusRejected
from hydindex.hydrus.client import HydrusClient
from hydindex.pipeline.library_diff import diff_by_hashes, diff_by_ids
from hydindex.pipeline.run_context import RunContext
from hydindex.pipeline.run_report import FileCounts, RunReport
from hydindex.records.files import FileRef, SearchResult

log = logging.getLogger(__name__)

HOW_TO_FIX_TAGS: Final = "Fix `tags` in the config; they use the syntax of Hydrus's own search box."
# Comparing by ids could miss a file whose id once denoted another one (see `library_diff`).
_LIST_HASHES_AFTER: Final = timedelta(days=7)


def search_and_diff(
    run: RunContext, client: HydrusClient
) -> Generator[RunReport, None, list[FileRef]]:
    """Search, record which files are present, and return those to ingest.

    These are files that the index does not know, and unusable ones that are due for another try.
    """
    tags, files = run.config.tags, run.store.files
    diff = None
    if clock.ago(_LIST_HASHES_AFTER) < files.hashes_listed_at() <= clock.now():
        diff = diff_by_ids(search(client, tags), files, client)
    lists_hashes = diff is None
    if diff is None:
        diff = diff_by_hashes(search_with_hashes(client, tags), files)
    _warn_if_empty(diff.found, tags)
    files.record_presence(gone=diff.gone, identified=diff.identified, hashes_listed=lists_hashes)
    if 2 * diff.found < diff.were_present:
        log.warning(
            "Hydrus finds %d files; the last run found %d. If that is a mistake (wrong tags, "
            "another Hydrus database), fix it and run again: the index keeps everything about the "
            "%d files that are gone.",
            diff.found,
            diff.were_present,
            len(diff.gone),
        )
    _forget_long_gone(run, present=diff.found)
    yield RunReport(
        files=FileCounts(
            found=diff.found, new=len(diff.new), gone=len(diff.gone), returned=diff.returned
        )
    )
    return diff.new + files.due_for_recheck()


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
    """Return the files that have all tags, as `search_with_hashes` does; warn if there are none."""
    search_result = search_with_hashes(client, tags)
    _warn_if_empty(len(search_result), tags)
    return search_result


def search(client: HydrusClient, tags: Sequence[str | Sequence[str]]) -> NDArray[np.int64]:
    """Return the ids in Hydrus of the files that have all tags, ascending.

    Raises:
        ConfigError: Hydrus cannot parse one of the tags.
    """
    with _parsed_tags():
        return client.search(tags)


def search_with_hashes(client: HydrusClient, tags: Sequence[str | Sequence[str]]) -> SearchResult:
    """Return the files that have all tags.

    Raises:
        ConfigError: Hydrus cannot parse one of the tags.
    """
    with _parsed_tags():
        return client.search_with_hashes(tags)


@contextmanager
def _parsed_tags() -> Iterator[None]:
    try:
        yield
    except HydrusRejected as error:
        raise ConfigError(
            f"Hydrus cannot search for `tags`: {error.message}",
            HOW_TO_FIX_TAGS,
        ) from None


def _warn_if_empty(found: int, tags: Sequence[str | Sequence[str]]) -> None:
    if found == 0:
        log.warning("Hydrus finds no file with all of these tags: %s", json.dumps(tags))
