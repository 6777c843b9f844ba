"""What has changed in the library since the last run."""

from dataclasses import dataclass

import numpy as np

from hydindex.records.files import FileRef, IndexedFiles, SearchResult


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


def diff_library(search_result: SearchResult, indexed: IndexedFiles) -> LibraryDiff:
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
