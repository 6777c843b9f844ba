"""Types of Hydrus's replies, as observed with client v681, API 94."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hydindex.records.files import FileMetadata, SearchResult, sha256_array
from hydindex.records.pair_states import Decision

Count = Annotated[int, Field(ge=0, lt=2**63)]  # what SQLite can hold
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Reply(BaseModel):
    """Base of all replies: exact types; keys that hydindex does not use are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


class ApiVersion(Reply):
    """/api_version."""

    hydrus_version: int


class AccessKey(Reply):
    """/verify_access_key."""

    name: str
    permits_everything: bool
    basic_permissions: list[int]

    def permits(self, permission: int) -> bool:
        """Return whether the key has a permission, by number."""
        return self.permits_everything or permission in self.basic_permissions


class NewKey(Reply):
    """/request_new_permissions."""

    access_key: Sha256


class SearchReply(Reply):
    """/get_files/search_files that returns ids."""

    file_ids: list[Count]

    def ids(self) -> NDArray[np.int64]:
        """Return the ids, ascending, each once."""
        ids = np.sort(np.array(self.file_ids, np.int64))
        return ids[np.diff(ids, prepend=-1) > 0]  # np.unique takes 50 times as long


class HashedSearchReply(SearchReply):
    """/get_files/search_files that returns ids and hashes. Without tags, `hashes` is missing."""

    hashes: list[Sha256] = []

    @model_validator(mode="after")
    def _require_equal_length(self) -> "HashedSearchReply":
        if len(self.file_ids) != len(self.hashes):
            raise ValueError("its lists of ids and hashes differ in length")
        return self

    def files(self) -> SearchResult:
        """Pair ids with hashes, which Hydrus lists in the same order; no id or hash is repeated."""
        ids, positions = np.unique(np.array(self.file_ids, np.int64), return_index=True)
        sha256, of_hash = np.unique(sha256_array(self.hashes)[positions], return_index=True)
        return SearchResult(ids[of_hash], sha256)


class Metadata(Reply):
    """/get_files/file_metadata. Rows are checked one by one, so that a bad row affects no other."""

    metadata: list[Any]

    def files(self) -> list[FileMetadata]:
        """Return the files of all valid rows."""
        files = []
        for row in self.metadata:
            with suppress(ValidationError):
                files.append(MetadataRow.model_validate(row).file())
        return files


class MetadataRow(Reply):
    """One file of /get_files/file_metadata."""

    hydrus_id: int = Field(alias="file_id")
    sha256: Sha256 = Field(alias="hash")
    size_bytes: Count | None = Field(None, alias="size")
    mime: str | None = None
    width_px: Count | None = Field(None, alias="width")
    height_px: Count | None = Field(None, alias="height")
    duration_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = Field(
        None, alias="duration"
    )

    def file(self) -> FileMetadata:
        """Return the file, by hydindex's names."""
        return FileMetadata(**self.model_dump())


class FilePath(Reply):
    """/get_files/file_path."""

    path: str


class FileRelationships(Reply):
    """The king of a file's duplicate group, and related files by kind.

    Hydrus lists a related file by the king of its group, so a pair posted with a group member
    reads back with that group's king.
    """

    king: Sha256
    potentials: list[Sha256] = Field(alias="0")
    false_positives: list[Sha256] = Field(alias="1")
    alternates: list[Sha256] = Field(alias="3")
    duplicates: list[Sha256] = Field(alias="8")


# The first kind that applies to a pair counts: Hydrus lists two alternates of a third file as
# alternates, even while the user has not decided the pair.
_DECISION_BY_KIND: Final[Mapping[str, Decision | None]] = {
    "potentials": None,
    "duplicates": Decision.DUPLICATE,
    "false_positives": Decision.FALSE_POSITIVE,
    "alternates": Decision.ALTERNATE,
}


class Relationships(Reply):
    """/manage_file_relationships/get_file_relationships."""

    file_relationships: dict[str, FileRelationships]

    def related(self, a: str, b: str) -> bool:
        """Return whether two files, or their groups, are related in any way."""
        return bool(self._kinds(a, b))

    def decision(self, a: str, b: str) -> Decision | None:
        """Return the user's decision about two files or their groups, if there is one."""
        kinds = self._kinds(a, b)
        return _DECISION_BY_KIND[kinds[0]] if kinds else None

    def _kinds(self, a: str, b: str) -> list[str]:
        """Return the kinds of relationships between two files or their groups."""
        one, two = self.file_relationships[a], self.file_relationships[b]
        kinds = []
        for kind in _DECISION_BY_KIND:
            is_listed = not (
                {b, two.king}.isdisjoint(getattr(one, kind))
                and {a, one.king}.isdisjoint(getattr(two, kind))
            )
            if is_listed or (kind == "duplicates" and one.king == two.king):
                kinds.append(kind)
        return kinds
