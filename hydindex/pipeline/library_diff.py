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


def diff_library(found: SearchResult, indexed: IndexedFiles) -> LibraryDiff:
    """Compare a search result with the index, by SHA-256."""
    # Both are sorted, so that the binary searches pass through memory in order.
    row = np.searchsorted(indexed.sha256, found.sha256)
    is_known = np.zeros(len(found), np.bool_)
    in_range = row < len(indexed)
    is_known[in_range] = indexed.sha256[row[in_range]] == found.sha256[in_range]

    is_found = np.zeros(len(indexed), np.bool_)
    is_found[row[is_known]] = True
    is_due = np.zeros(len(found), np.bool_)
    is_due[is_known] = indexed.recheck[row[is_known]]
    return LibraryDiff(
        new=found.chosen(~is_known),
        recheck=found.chosen(is_due),
        gone=indexed.ids[indexed.present & ~is_found].tolist(),
        returned=indexed.ids[~indexed.present & is_found].tolist(),
    )
