"""What has changed in the library since the last run."""

from collections.abc import Iterable
from dataclasses import dataclass

from hydindex.index.files import IndexedFile
from hydindex.model import FoundFile


@dataclass(frozen=True, slots=True)
class LibraryDiff:
    """The difference between what Hydrus has and what the index knows.

    `new` are files that the index does not know, and `recheck` such as it knows to be unusable and
    should ask for again. `gone` and `returned` are ids of rows: gone files are in the index but
    no longer found; returned ones had been gone and are found again.
    """

    new: list[FoundFile]
    recheck: list[FoundFile]
    gone: list[int]
    returned: list[int]


def diff(found: Iterable[FoundFile], indexed: Iterable[IndexedFile]) -> LibraryDiff:
    """Compare what a search found with what is indexed, by SHA-256."""
    unseen = {file.sha256: file for file in found}
    recheck: list[FoundFile] = []
    gone: list[int] = []
    returned: list[int] = []
    for known in indexed:
        file = unseen.pop(known.sha256, None)
        if file is None:
            if known.present:
                gone.append(known.id)
            continue
        if not known.present:
            returned.append(known.id)
        if known.recheck:
            recheck.append(file)
    return LibraryDiff(new=list(unseen.values()), recheck=recheck, gone=gone, returned=returned)
