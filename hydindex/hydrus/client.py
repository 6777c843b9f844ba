"""Speaks Hydrus's Client API: what can be asked and told, one method each."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from pydantic import ValidationError

from hydindex.common.errors import HydrusRejected
from hydindex.hydrus.replies import (
    AccessKey,
    ApiVersion,
    FilePath,
    FileRelationships,
    Metadata,
    NewKey,
    Relationships,
    Reply,
    SearchReply,
)
from hydindex.hydrus.retry_budget import RetryBudget
from hydindex.hydrus.transport import REQUEST_KEY_PATH, Transport
from hydindex.records.files import FileMetadata, FileRef, SearchResult

ReplyT = TypeVar("ReplyT", bound=Reply)

FILES_PER_REQUEST: Final = 256
"""Hydrus itself works through long lists in batches of this size."""

SEARCH_FILES: Final = 3
PERMISSIONS: Final = {SEARCH_FILES: "search for and fetch files", 8: "edit file relationships"}
SEE_LOCAL_PATHS: Final = 13
"""The permission to be told where files lie on the client's disk; nothing depends on it."""
MANAGE_POPUPS: Final = 10
"""The permission to show a popup in the client; no run depends on it."""
# Nobody waits for a popup.
POPUP_TIMEOUT_S: Final = 5.0
_LARGEST_THUMBNAIL_BYTES: Final = 64 << 20

# The one file domain in which no relationship is hidden, by the key that it has in every client.
# In the default domain a pair cannot be seen while the king of either group lies in the trash, and
# in the local file storage while that king is deleted (v681).
_ALL_KNOWN_FILES: Final = b"all known files".hex()
_POTENTIAL: Final = 0
# No file has this SHA-256; what Hydrus serves for it is the running client's own placeholder.
_IMPOSSIBLE_SHA256: Final = "0" * 64


class HydrusClient:
    """One Hydrus client, spoken to with one access key. Safe to use from several threads.

    Without a key, only the version and a new key can be asked for.

    Reads are tried again with growing, jittered pauses, while the patience of the run lasts. A
    write is sent once: whether to send it again is for the caller to decide, who has read back
    what became of it. No redirect is followed, and nothing that is said holds the key.

    `verify` is whether to check the certificate of an https address, or the path of a file (PEM)
    with those to trust; `server_name` is the name that it is made out to, where that is not the
    host of the address.

    Every method may raise HydrusUnreachable (no answer, or a 5xx), HydrusAccessDenied (the key),
    HydrusRejected (400, 404) and HydrusBadReply (an answer that no Hydrus client gives).
    """

    def __init__(
        self,
        base_url: str,
        access_key: str | None,
        *,
        api_timeout_s: float = 60.0,
        thumbnail_timeout_s: float = 60.0,
        post_timeout_s: float = 60.0,
        connections: int = 8,
        backoff_s: float = 0.5,
        verify: bool | str = True,
        server_name: str | None = None,
        patience: RetryBudget | None = None,
    ) -> None:
        self._api_timeout_s = api_timeout_s
        self._thumbnail_timeout_s = thumbnail_timeout_s
        self._post_timeout_s = post_timeout_s
        self._transport = Transport(
            base_url,
            access_key,
            connections=connections,
            backoff_s=backoff_s,
            verify=verify,
            server_name=server_name,
            patience=patience or RetryBudget(),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._transport.close()

    def version(self) -> int:
        """Ask which Hydrus version answers, for example 681. Needs no key."""
        return self._read(ApiVersion, "/api_version").hydrus_version

    def request_key(self, name: str) -> str:
        """Ask for an access key of that name, with the PERMISSIONS and no other.

        The user has to approve it in the client; until then it opens nothing.

        Raises:
            HydrusDialogClosed: the user has not opened the dialog for that.
        """
        query = {
            "name": name,
            "permits_everything": "false",
            "basic_permissions": json.dumps(sorted(PERMISSIONS)),
        }
        return self._read(NewKey, REQUEST_KEY_PATH, query).access_key

    def require_permissions(self) -> None:
        """Make sure that the key works and may do all that a run needs.

        Raises:
            HydrusAccessDenied: the key is refused, or lacks permission 3 or 8.
        """
        key = self._access()
        missing = PERMISSIONS.keys() - key.basic_permissions
        if missing and not key.permits_everything:
            names = ", ".join(f"'{PERMISSIONS[number]}' ({number})" for number in sorted(missing))
            raise self._transport.denied(
                f"The access key '{key.name}' lacks the permission {names}"
            )

    def permits(self, permission: int) -> bool:
        """Ask whether the key has a permission, by the number that Hydrus has for it."""
        key = self._access()
        return key.permits_everything or permission in key.basic_permissions

    def search(self, tags: Sequence[str | Sequence[str]]) -> SearchResult:
        """Find the files that carry all tags; an inner list is an OR group. The trash is left out.

        Raises:
            HydrusRejected: Hydrus cannot parse one of the tags.
        """
        query = {"tags": json.dumps(tags), "return_hashes": "true", "return_file_ids": "true"}
        result = self._read(SearchReply, "/get_files/search_files", query)
        try:
            return result.files()
        except ValueError:
            raise self._transport.bad_reply(
                "lists of ids and hashes that differ in length"
            ) from None

    def metadata(self, files: Iterable[FileRef]) -> dict[str, FileMetadata]:
        """Ask for the metadata of up to 256 files, by `file_id`; the result is keyed by SHA-256.

        By id and not by hash, because a key that is restricted by tags may only use the ids of its
        own last search.

        Raises:
            HydrusRejected: Hydrus does not know one of the ids (and then answers for none).
        """
        query = {
            "file_ids": json.dumps([file.hydrus_id for file in files]),
            "only_return_basic_information": "true",
            "include_services_object": "false",
        }
        rows = self._read(Metadata, "/get_files/file_metadata", query).files()
        return {row.sha256: row for row in rows}

    def thumbnail(self, hydrus_id: int) -> bytes:
        """Fetch a thumbnail: JPEG or PNG. Hydrus never answers 404, but with a placeholder."""
        return self._thumbnail({"file_id": str(hydrus_id)})

    def placeholder(self) -> bytes:
        """Fetch the picture that this client serves for files it does not know."""
        return self._thumbnail({"hash": _IMPOSSIBLE_SHA256})

    def file_part(self, hydrus_id: int, part: range) -> bytes:
        """Fetch bytes of a file, from `part.start` up to, not with, `part.stop`.

        The part must lie within the file. Asked for one byte more than there is, Hydrus promises it
        and never sends it; asked for what begins past the end, it sends the whole file.

        Raises:
            HydrusRejected: the client knows the file, or not even that, but does not have it.
        """
        query = {"file_id": str(hydrus_id)}
        timeout_s = self._thumbnail_timeout_s
        answer = self._transport.get(
            "/get_files/file", timeout_s, query, largest_bytes=len(part), part=part
        )
        if len(answer.content) != len(part):
            raise self._transport.bad_reply(
                "a part of a file that is shorter than what was asked for"
            )
        return answer.content

    def file_path(self, hydrus_id: int) -> Path:
        """Ask where a file lies on the client's own disk. Needs the permission SEE_LOCAL_PATHS.

        Raises:
            HydrusRejected: the client does not have the file.
        """
        query = {"file_id": str(hydrus_id)}
        return Path(self._read(FilePath, "/get_files/file_path", query).path)

    def relationships(self, hashes: Iterable[str]) -> Relationships:
        """Ask how files are related, to trashed and deleted files too; in requests of 256 files."""
        ordered = sorted(set(hashes))
        found: dict[str, FileRelationships] = {}
        for start in range(0, len(ordered), FILES_PER_REQUEST):
            query = {
                "hashes": json.dumps(ordered[start : start + FILES_PER_REQUEST]),
                "file_service_key": _ALL_KNOWN_FILES,
            }
            path = "/manage_file_relationships/get_file_relationships"
            found |= self._read(Relationships, path, query).file_relationships
        if not found.keys() >= set(ordered):
            raise self._transport.bad_reply("it leaves out the relationships of some files")
        return Relationships(file_relationships=found)

    def post_potentials(self, pairs: Iterable[tuple[str, str]], *, merge: bool) -> None:
        """Ask Hydrus to set pairs of files, by SHA-256, as potential duplicates; sent once.

        The answer, a 200 without a body, proves nothing: Hydrus gives it as well where it keeps
        nothing. Read `relationships` to learn what was kept.

        Raises:
            HydrusRejected: a row is malformed; Hydrus then has written none of them.
            HydrusUnreachable: no answer; the rows may or may not have been written.
        """
        rows = [
            {
                "hash_a": a,
                "hash_b": b,
                "relationship": _POTENTIAL,
                "do_default_content_merge": merge,
            }
            for a, b in pairs
        ]
        path = "/manage_file_relationships/set_file_relationships"
        self._transport.post(path, self._post_timeout_s, {"relationships": rows})

    def add_popup(self, title: str, *texts: str) -> None:
        """Show a popup of up to two texts, which stays until the user dismisses it; sent once.

        Needs the permission MANAGE_POPUPS.
        """
        body = {"status_title": title}
        body |= {f"status_text_{number}": text for number, text in enumerate(texts, 1)}
        timeout_s = min(POPUP_TIMEOUT_S, self._post_timeout_s)
        self._transport.post("/manage_popups/add_popup", timeout_s, body)

    def _access(self) -> AccessKey:
        try:
            return self._read(AccessKey, "/verify_access_key")
        except HydrusRejected as error:  # a key that is not hexadecimal is a 400
            raise self._transport.denied(error.message) from None

    def _thumbnail(self, query: Mapping[str, str]) -> bytes:
        answer = self._transport.get(
            "/get_files/thumbnail",
            self._thumbnail_timeout_s,
            query,
            largest_bytes=_LARGEST_THUMBNAIL_BYTES,
        )
        if not answer.content_type.startswith("image/"):
            raise self._transport.bad_reply(
                f"a thumbnail that is {answer.content_type or 'of no type'}"
            )
        return answer.content

    def _read(
        self, kind: type[ReplyT], path: str, query: Mapping[str, str] | None = None
    ) -> ReplyT:
        answer = self._transport.get(path, self._api_timeout_s, query)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise self._transport.bad_reply(f"{first['msg']} ({path} {place})".strip()) from None
