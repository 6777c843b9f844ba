"""What Hydrus answers, as types; facts observed with client v681, API 94."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hydindex.records.files import FileMetadata, SearchResult
from hydindex.records.pair_states import Decision

Count = Annotated[int, Field(ge=0, lt=2**63)]  # what SQLite can hold
FileId = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Reply(BaseModel):
    """Exact types; keys that hydindex does not use are passed over."""

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


class NewKey(Reply):
    """/request_new_permissions: opens nothing until the user has approved it."""

    access_key: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class SearchReply(Reply):
    """/get_files/search_files; a search without tags is answered without `hashes`."""

    file_ids: list[FileId]
    hashes: list[Sha256] = []

    def files(self) -> SearchResult:
        """Pair up ids and hashes, which Hydrus lists in the same order; each file once.

        Raises:
            ValueError: the lists differ in length.
        """
        return SearchResult.of(self.file_ids, self.hashes)


class Metadata(Reply):
    """/get_files/file_metadata: the rows are checked one by one, so that a bad one costs itself."""

    metadata: list[Any]

    def files(self) -> list[FileMetadata]:
        """Give every row that describes a file; a row that makes no sense is left out."""
        return [row.file() for row in _valid_rows(self.metadata)]


class MetadataRow(Reply):
    """What Hydrus says of one file. `duration` is in milliseconds, an int, a float or null."""

    file_id: int
    hash: Sha256
    size: Count | None = None
    mime: str | None = None
    width: Count | None = None
    height: Count | None = None
    duration: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    num_frames: Count | None = None

    def file(self) -> FileMetadata:
        """Give the row the project's names and units."""
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
    """One file's relationships: its group's king, and its partners by kind.

    Partners are listed by the king of their own duplicate group, so a pair posted with a member
    of a group reads back under that group's king.
    """

    king: Sha256
    potentials: list[Sha256] = Field(alias="0")
    false_positives: list[Sha256] = Field(alias="1")
    alternates: list[Sha256] = Field(alias="3")
    duplicates: list[Sha256] = Field(alias="8")

    @property
    def partners(self) -> set[str]:
        """Every file that this one is related to, in whatever way."""
        return {
            *self.potentials,
            *self.false_positives,
            *self.alternates,
            *self.duplicates,
        }


class Relationships(Reply):
    """/manage_file_relationships/get_file_relationships."""

    file_relationships: dict[str, FileRelationships]

    def related(self, a: str, b: str) -> bool:
        """Whether Hydrus relates two files in any way, directly or through their groups."""
        one, two = self.file_relationships[a], self.file_relationships[b]
        return one.king == two.king or self._listed(a, b, lambda each: each.partners)

    def decision(self, a: str, b: str) -> Decision | None:
        """What the user has decided about two files, or their groups; None: nothing so far.

        Two alternates of a third file are listed as alternates, even while they are potential
        duplicates: what is still potential is open.
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


def _valid_rows(rows: Iterable[Any]) -> Iterable[MetadataRow]:
    for row in rows:
        try:
            yield MetadataRow.model_validate(row)
        except ValidationError:
            continue
