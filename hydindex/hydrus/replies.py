"""Types of Hydrus's replies, as observed with client v681, API 94."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hydindex.records.files import FileMetadata, SearchResult
from hydindex.records.pair_states import Decision

Count = Annotated[int, Field(ge=0, lt=2**63)]  # what SQLite can hold
FileId = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Reply(BaseModel):
    """Base of all replies: exact types; keys that hydindex does not use are ignored."""

    model_config = ConfigDict(strict=True, frozen=True)


class ApiVersion(Reply):
    """/api_version."""

    version: int
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
    """/get_files/search_files. Without tags, `hashes` is missing."""

    file_ids: list[FileId]
    hashes: list[Sha256] = []

    def files(self) -> SearchResult:
        """Pair ids with hashes, which Hydrus lists in the same order; drop repeated files.

        Raises:
            ValueError: the lists differ in length.
        """
        return SearchResult.of(self.file_ids, self.hashes)


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
    """One file of /get_files/file_metadata. `duration` is in milliseconds."""

    file_id: int
    hash: Sha256
    size: Count | None = None
    mime: str | None = None
    width: Count | None = None
    height: Count | None = None
    duration: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    num_frames: Count | None = None

    def file(self) -> FileMetadata:
        """Convert to hydindex's names and units."""
        return FileMetadata(
            hydrus_id=self.file_id,
            sha256=self.hash,
            size_bytes=self.size,
            mime=self.mime,
            width_px=self.width,
            height_px=self.height,
            duration_ms=self.duration,
            num_frames=self.num_frames,
        )


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

    @property
    def partners(self) -> set[str]:
        """All related files."""
        return {*self.potentials, *self.false_positives, *self.alternates, *self.duplicates}


class Relationships(Reply):
    """/manage_file_relationships/get_file_relationships."""

    file_relationships: dict[str, FileRelationships]

    def related(self, a: str, b: str) -> bool:
        """Return whether two files, or their groups, are related in any way."""
        one, two = self.file_relationships[a], self.file_relationships[b]
        return one.king == two.king or self._listed(a, b, lambda each: each.partners)

    def decision(self, a: str, b: str) -> Decision | None:
        """Return the user's decision about two files or their groups, if there is one.

        Hydrus lists two alternates of a third file as alternates, even while the user has not
        decided the pair: a pair that is still a potential duplicate is undecided.
        """
        one, two = self.file_relationships[a], self.file_relationships[b]
        if self._listed(a, b, lambda each: each.potentials):
            return None
        if one.king == two.king or self._listed(a, b, lambda each: each.duplicates):
            return Decision.DUPLICATE
        if self._listed(a, b, lambda each: each.false_positives):
            return Decision.FALSE_POSITIVE
        if self._listed(a, b, lambda each: each.alternates):
            return Decision.ALTERNATE
        return None

    def _listed(
        self, a: str, b: str, partners: Callable[[FileRelationships], Iterable[str]]
    ) -> bool:
        one, two = self.file_relationships[a], self.file_relationships[b]
        return not {b, two.king}.isdisjoint(partners(one)) or not {a, one.king}.isdisjoint(
            partners(two)
        )
