"""Files: as the search finds them, as Hydrus describes them, as the index knows them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.records.pictures import PreparedThumbnail


@dataclass(frozen=True, slots=True)
class FileRef:
    """What identifies a file.

    `sha256` (64 hex digits) identifies it everywhere. `hydrus_id` is Hydrus's `file_id`: valid in
    one Hydrus database only.
    """

    hydrus_id: int
    sha256: str


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The files of a search that returned hashes, each once: parallel arrays, sorted by SHA-256.

    `hydrus_ids`: int64. `sha256`: 32 bytes each (dtype S32). A million files take 40 MB; as
    `FileRef`s they would take ten times as much.
    """

    hydrus_ids: NDArray[np.int64]
    sha256: NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.hydrus_ids)

    def select(self, mask: NDArray[np.bool_]) -> list[FileRef]:
        """Return the files of a mask, sorted by Hydrus's ids."""
        selected = zip(self.hydrus_ids[mask].tolist(), hex_hashes(self.sha256[mask]), strict=True)
        return [FileRef(hydrus_id, sha256) for hydrus_id, sha256 in sorted(selected)]


def sha256_array(hashes: Sequence[str]) -> NDArray[np.bytes_]:
    """Convert SHA-256 of 64 hex digits to an array of 32 bytes each."""
    return np.frombuffer(bytes.fromhex("".join(hashes)), "S32")


def hex_hashes(sha256: NDArray[np.bytes_]) -> list[str]:
    """Undo `sha256_array`."""
    # numpy drops trailing zero bytes.
    return [each.ljust(32, b"\0").hex() for each in sha256.tolist()]


@dataclass(frozen=True, slots=True)
class IndexedFiles:
    """All files in the index: parallel arrays, sorted by SHA-256.

    `ids`: int64. `sha256`: dtype S32. `hydrus_ids`: int64, or NO_HYDRUS_ID. Bool: `present` (Hydrus
    finds the file), `pictured` (its thumbnail is stored).
    """

    ids: NDArray[np.int64]
    sha256: NDArray[np.bytes_]
    hydrus_ids: NDArray[np.int64]
    present: NDArray[np.bool_]
    pictured: NDArray[np.bool_]


NO_HYDRUS_ID: Final = -1
"""No file has this id in Hydrus."""


@dataclass(frozen=True, slots=True)
class HydrusIds:
    """The ids that files have in Hydrus: parallel arrays, both int64.

    `ids` are those of the index, `hydrus_ids` those of Hydrus.
    """

    ids: NDArray[np.int64]
    hydrus_ids: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FileMetadata:
    """A file as Hydrus describes it. None where Hydrus doesn't know."""

    hydrus_id: int
    sha256: str
    size_bytes: int | None
    mime: str | None
    width_px: int | None
    height_px: int | None
    duration_ms: float | None

    def ref(self) -> FileRef:
        """Return what identifies the file."""
        return FileRef(self.hydrus_id, self.sha256)


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A file's thumbnail as Hydrus served it: the bytes of a JPEG or PNG."""

    file: FileMetadata
    picture: bytes


@dataclass(frozen=True, slots=True)
class UnusableFile:
    """A file that can't be compared, and the reason. It is tried again after a week."""

    file: FileMetadata
    reason: str


@dataclass(frozen=True, slots=True)
class FetchFailure:
    """A file that could not be fetched, and the reason. The next run tries again."""

    file: FileRef
    reason: str


@dataclass(frozen=True, slots=True)
class PreparedFile:
    """A file with its thumbnail and what a method computed from it: ready for the index."""

    thumbnail: Thumbnail
    prepared: PreparedThumbnail


@dataclass(frozen=True, slots=True)
class ComparableFiles:
    """What the candidate rules need to know about files: parallel arrays.

    `ids`: int64. `duration_ms`, `aspect_ratio` (width / height): float64, NaN where unknown.
    `content_aspect_ratio`: the same without bars; the method `threshold` doesn't look for bars.
    `average_hash`: uint64, 0 for other methods. `compared_since`: int64, the step at which the
    file joined the compared set, or NOT_COMPARED.
    """

    ids: NDArray[np.int64]
    duration_ms: NDArray[np.float64]
    aspect_ratio: NDArray[np.float64]
    average_hash: NDArray[np.uint64]
    content_aspect_ratio: NDArray[np.float64]
    compared_since: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(
        self, chosen: slice | NDArray[np.bool_] | NDArray[np.intp]
    ) -> "ComparableFiles":
        # Called for every file of a comparison: a loop over `fields` would take most of its time.
        return ComparableFiles(
            ids=self.ids[chosen],
            duration_ms=self.duration_ms[chosen],
            aspect_ratio=self.aspect_ratio[chosen],
            average_hash=self.average_hash[chosen],
            content_aspect_ratio=self.content_aspect_ratio[chosen],
            compared_since=self.compared_since[chosen],
        )

    def __add__(self, other: "ComparableFiles") -> "ComparableFiles":
        names = [field.name for field in fields(self)]
        return ComparableFiles(
            *(np.concatenate((getattr(self, name), getattr(other, name))) for name in names)
        )


NOT_COMPARED: Final = np.iinfo(np.int64).max
"""The `compared_since` of a file outside the compared set: later than every step."""
