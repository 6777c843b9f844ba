"""Hydrus's Client API: one method per endpoint."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from hydindex.common.batches import batched
from hydindex.common.errors import HydrusRejected
from hydindex.config.sections import Timeouts
from hydindex.hydrus import permissions, replies
from hydindex.hydrus.transport import Transport
from hydindex.records.files import FileMetadata, FileRef, SearchResult

ReplyT = TypeVar("ReplyT", bound=replies.Reply)

FILES_PER_REQUEST: Final = 256
"""Hydrus processes long lists in batches of this size."""
POPUP_TIMEOUT_S: Final = 5.0
_MAX_THUMBNAIL_BYTES: Final = 64 << 20
# The only file domain that hides no relationships; its key is the same in every client. The default
# domain hides a pair while the king of either group is in the trash, and the local file storage
# while that king is deleted (v681).
_ALL_KNOWN_FILES: Final = b"all known files".hex()
_POTENTIAL: Final = 0
# No file has this SHA-256, so Hydrus serves its placeholder.
_IMPOSSIBLE_SHA256: Final = "0" * 64
_DEFAULT_TIMEOUTS: Final = Timeouts()


class HydrusClient:
    """A Hydrus client, reached with one access key. Thread-safe.

    Without a key, only `version` and `request_key` work. Before repeating a write, check what
    Hydrus stored.

    Every method may raise HydrusUnreachable (no answer, or 5xx), HydrusAccessDenied (the key is
    refused), HydrusRejected (400 or 404) and HydrusBadReply (not an answer from Hydrus).
    """

    def __init__(self, transport: Transport, timeouts: Timeouts = _DEFAULT_TIMEOUTS) -> None:
        self._transport = transport
        self._timeouts = timeouts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._transport.close()

    def version(self) -> int:
        """Return the version of Hydrus, for example 681. Needs no key."""
        return self._read(replies.ApiVersion, "/api_version").hydrus_version

    def request_key(self, name: str) -> str:
        """Request an access key with exactly the required permissions. Needs no key.

        The key works once the user approves it in Hydrus.

        Raises:
            HydrusDialogClosed: the dialog for new keys is not open in Hydrus.
        """
        query = {
            "name": name,
            "permits_everything": "false",
            "basic_permissions": json.dumps(sorted(permissions.REQUIRED)),
        }
        return self._read(replies.NewKey, "/request_new_permissions", query).access_key

    def require_permissions(self) -> None:
        """Check that the key works and has the required permissions.

        Raises:
            HydrusAccessDenied: the key is refused or lacks a permission.
        """
        key = self._access()
        lacking = [number for number in permissions.REQUIRED if not key.permits(number)]
        if lacking:
            names = ", ".join(f"'{permissions.REQUIRED[number]}' ({number})" for number in lacking)
            what = f"The access key '{key.name}' lacks the permission {names}"
            raise self._transport.denied(what)

    def permits(self, permission: int) -> bool:
        """Return whether the key has a permission."""
        return self._access().permits(permission)

    def search(self, tags: Sequence[str | Sequence[str]]) -> NDArray[np.int64]:
        """Find the files with all tags, outside the trash; an inner list is an OR group.

        Returns their ids, ascending: 8 MB of JSON for a million files; with hashes it is 76 MB.

        Raises:
            HydrusRejected: Hydrus cannot parse a tag.
        """
        query = {"tags": json.dumps(tags), "return_hashes": "false", "return_file_ids": "true"}
        return self._read(replies.SearchReply, "/get_files/search_files", query).ids()

    def search_with_hashes(self, tags: Sequence[str | Sequence[str]]) -> SearchResult:
        """Find the same files as `search`, with their SHA-256.

        Raises:
            HydrusRejected: Hydrus cannot parse a tag.
        """
        query = {"tags": json.dumps(tags), "return_hashes": "true", "return_file_ids": "true"}
        return self._read(replies.HashedSearchReply, "/get_files/search_files", query).files()

    def identifiers(self, hydrus_ids: Sequence[int]) -> dict[int, str]:
        """Return the SHA-256 of files by id. A file that Hydrus leaves out is missing.

        Raises:
            HydrusRejected: one of the ids is unknown.
        """
        hashes: dict[int, str] = {}
        for batch in batched(hydrus_ids, FILES_PER_REQUEST):
            rows = self._metadata(batch, "only_return_identifiers")
            hashes |= {row.hydrus_id: row.sha256 for row in rows}
        return hashes

    def metadata(self, files: Iterable[FileRef]) -> dict[str, FileMetadata]:
        """Return the metadata of up to 256 files, by SHA-256.

        Asks by id, because a key that is restricted by tags may only use ids of its last search.

        Raises:
            HydrusRejected: one of the ids is unknown; Hydrus then describes no file.
        """
        ids = [file.hydrus_id for file in files]
        return {row.sha256: row for row in self._metadata(ids, "only_return_basic_information")}

    def thumbnail(self, hydrus_id: int) -> bytes:
        """Return a thumbnail, JPEG or PNG. Hydrus serves a placeholder if it has none."""
        return self._thumbnail({"file_id": str(hydrus_id)})

    def placeholder(self) -> bytes:
        """Return the placeholder that this client serves for unknown files."""
        return self._thumbnail({"hash": _IMPOSSIBLE_SHA256})

    def file_part(self, hydrus_id: int, part: range) -> bytes:
        """Return the bytes `part` of a file.

        The part must lie within the file. Hydrus announces bytes past the end and never sends
        them; for a part that begins past the end, it sends the whole file.

        Raises:
            HydrusRejected: the client does not have the file.
        """
        query = {"file_id": str(hydrus_id)}
        content = self._transport.get(
            "/get_files/file", self._timeouts.thumb, query, max_bytes=len(part), part=part
        )
        if len(content) != len(part):
            raise self._transport.bad_reply("fewer bytes of a file than requested")
        return content

    def file_path(self, hydrus_id: int) -> Path:
        """Return the path of a file on the client's machine. Needs `SEE_LOCAL_PATHS`.

        Raises:
            HydrusRejected: the client does not have the file.
        """
        query = {"file_id": str(hydrus_id)}
        return Path(self._read(replies.FilePath, "/get_files/file_path", query).path)

    def relationships(self, hashes: Iterable[str]) -> replies.Relationships:
        """Return the relationships of files, including those with trashed and deleted files."""
        path = "/manage_file_relationships/get_file_relationships"
        relationships: dict[str, replies.FileRelationships] = {}
        for batch in batched(sorted(set(hashes)), FILES_PER_REQUEST):
            query = {"hashes": json.dumps(batch), "file_service_key": _ALL_KNOWN_FILES}
            reply = self._read(replies.Relationships, path, query).file_relationships
            if not reply.keys() >= set(batch):
                raise self._transport.bad_reply("it leaves out the relationships of some files")
            relationships |= reply
        return replies.Relationships(file_relationships=relationships)

    def post_potentials(self, pairs: Iterable[tuple[str, str]], *, merge: bool) -> None:
        """Post pairs of SHA-256 as potential duplicates, once.

        Success proves nothing: Hydrus also answers 200 if it stores nothing. Read `relationships`
        to learn what it stored.

        Raises:
            HydrusRejected: a row is malformed; Hydrus stored none.
            HydrusUnreachable: no answer; Hydrus may or may not have stored the rows.
        """
        kind = {"relationship": _POTENTIAL, "do_default_content_merge": merge}
        rows = [{"hash_a": a, "hash_b": b, **kind} for a, b in pairs]
        path = "/manage_file_relationships/set_file_relationships"
        self._transport.post(path, self._timeouts.post, {"relationships": rows})

    def add_popup(self, title: str, *texts: str) -> None:
        """Show a popup with up to two texts until the user dismisses it. Needs `MANAGE_POPUPS`."""
        body = {"status_title": title}
        body |= {f"status_text_{number}": text for number, text in enumerate(texts, 1)}
        timeout_s = min(POPUP_TIMEOUT_S, self._timeouts.post)
        self._transport.post("/manage_popups/add_popup", timeout_s, body)

    def _access(self) -> replies.AccessKey:
        try:
            return self._read(replies.AccessKey, "/verify_access_key")
        except HydrusRejected as error:  # Hydrus answers 400 to a key that is not hexadecimal
            raise self._transport.denied(error.message) from None

    def _metadata(self, hydrus_ids: Sequence[int], extent: str) -> list[FileMetadata]:
        query = {
            "file_ids": json.dumps(hydrus_ids),
            extent: "true",
            "include_services_object": "false",
        }
        return self._read(replies.Metadata, "/get_files/file_metadata", query).files()

    def _thumbnail(self, query: Mapping[str, str]) -> bytes:
        return self._transport.get(
            "/get_files/thumbnail",
            self._timeouts.thumb,
            query,
            max_bytes=_MAX_THUMBNAIL_BYTES,
            media_type="image/",
        )

    def _read(
        self, reply: type[ReplyT], path: str, query: Mapping[str, str] | None = None
    ) -> ReplyT:
        content = self._transport.get(path, self._timeouts.api, query)
        try:
            return reply.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            where = f"{path} {place}".strip()
            problem = first["msg"].removeprefix("Value error, ")
            raise self._transport.bad_reply(f"{problem} ({where})") from None
