"""The difference between a search result and the index, by Hydrus's ids or by SHA-256."""

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.errors import HydrusRejected, HydrusUnreachable
from hydindex.hydrus.client import FILES_PER_REQUEST, HydrusClient
from hydindex.records.files import FileRef, HydrusIds, SearchResult
from hydindex.store.file_store import FileStore

log = logging.getLogger(__name__)

# Asking for the SHA-256 of single files takes longer than for those of all files, if more than this
# share is unknown.
_UNKNOWN_SHARE: Final = 1 / 16
# Half of the known ids that every run checks are the highest, half are spread over all.
_CHECKED_IDS: Final = FILES_PER_REQUEST


@dataclass(frozen=True, slots=True)
class LibraryDiff:
    """The difference between the search result and the index.

    `found`: the number of files in the search result. `new`: files that the index does not know.
    `gone`: ids of files that are no longer in the search result. `identified`: known files that
    are there under an id in Hydrus that the index does not have; `returned` of them were gone.
    """

    found: int
    new: list[FileRef]
    gone: NDArray[np.int64]
    identified: HydrusIds
    returned: int

    @property
    def were_present(self) -> int:
        """The number of files that the last run found."""
        return self.found - len(self.new) - self.returned + len(self.gone)


def diff_by_ids(
    found: NDArray[np.int64], files: FileStore, client: HydrusClient
) -> LibraryDiff | None:
    """Compare a search result (ids in Hydrus, ascending) with the index by ids.

    Hydrus is asked for the SHA-256 of ids that the index does not know: such a file is new, has
    returned, or is known under another id.

    Returns None if that needs the SHA-256 of all files: the stored ids may denote other files, or
    too many ids are unknown.
    """
    known = files.hydrus_ids()
    is_known = np.isin(found, known.hydrus_ids, assume_unique=True)
    unknown, checked = found[~is_known], _to_check(found[is_known])
    if len(unknown) > max(FILES_PER_REQUEST, _UNKNOWN_SHARE * len(found)):
        log.info("Hydrus finds %d files under ids that the index does not know", len(unknown))
        return None
    asked = np.concatenate((checked, unknown)).tolist()
    try:
        hashes = client.identifiers(asked)
    except (HydrusRejected, HydrusUnreachable) as error:
        log.info("Hydrus does not return the SHA-256 of single files: %s", error.message)
        return None
    if not hashes.keys() >= set(asked):
        log.info("Hydrus does not return the SHA-256 of all files that were asked for")
        return None
    refs = [FileRef(each, hashes[each]) for each in unknown.tolist()]
    id_of = files.find([each.sha256 for each in refs])
    identified = [each for each in refs if each.sha256 in id_of]
    identified_ids = np.array([id_of[each.sha256] for each in identified], np.int64)
    is_found = np.isin(known.hydrus_ids, found, assume_unique=True)
    stored = files.hashes_by_hydrus_id(checked)
    is_consistent = (
        all(hashes[each] == sha256 for each, sha256 in stored.items())
        # Hydrus gives no file two ids.
        and not np.isin(known.ids[is_found], identified_ids).any()
    )
    if not is_consistent:
        log.warning(
            "Some of Hydrus's file ids denote other files than before: its database was restored "
            "from a backup or replaced. All files are now identified by their SHA-256; nothing is "
            "lost."
        )
        return None
    were_present = np.concatenate((known.ids[~is_found], files.unidentified()))
    return LibraryDiff(
        found=len(found),
        new=[each for each in refs if each.sha256 not in id_of],
        gone=np.setdiff1d(were_present, identified_ids),
        identified=HydrusIds(
            identified_ids, np.array([each.hydrus_id for each in identified], np.int64)
        ),
        returned=files.gone_count(identified_ids),
    )


def _to_check(known: NDArray[np.int64]) -> NDArray[np.int64]:
    """Choose the known ids of a search result, ascending, whose SHA-256 is checked.

    Ids in Hydrus ascend and never change within one database. A restored backup gives ids above
    its own highest to other files: among the known ids that are now wrong is therefore the
    highest, unless the same file was imported again at exactly its old place. In another database,
    nearly every id is wrong, so that any will do. What both halves miss is found when all SHA-256
    are next listed.
    """
    half = min(len(known), _CHECKED_IDS // 2)
    spread = np.linspace(0, len(known) - 1, half, dtype=np.intp)
    return np.union1d(known[len(known) - half :], known[spread])


def diff_by_hashes(search_result: SearchResult, files: FileStore) -> LibraryDiff:
    """Compare a search result with the index by SHA-256."""
    indexed = files.indexed()
    _, in_search, in_index = np.intersect1d(
        search_result.sha256, indexed.sha256, assume_unique=True, return_indices=True
    )
    is_new = np.ones(len(search_result), np.bool_)
    is_new[in_search] = False
    is_gone = indexed.present.copy()
    is_gone[in_index] = False
    hydrus_ids = search_result.hydrus_ids[in_search]
    is_changed = indexed.hydrus_ids[in_index] != hydrus_ids  # a gone file has no id
    return LibraryDiff(
        found=len(search_result),
        new=search_result.select(is_new),
        gone=indexed.ids[is_gone],
        identified=HydrusIds(indexed.ids[in_index][is_changed], hydrus_ids[is_changed]),
        returned=int((~indexed.present[in_index]).sum()),
    )
