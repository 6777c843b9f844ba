"""Speaks Hydrus's Client API. Nothing of `requests` leaves this module, its errors neither."""

import json
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_address
from types import TracebackType
from typing import Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import requests
from pydantic import ValidationError
from requests.adapters import HTTPAdapter
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)

from hydindex.errors import (
    HydrusAccessDenied,
    HydrusBadReply,
    HydrusRejected,
    HydrusUnreachable,
)
from hydindex.hydrus.replies import (
    AccessKey,
    ApiVersion,
    FileRelationships,
    Metadata,
    Relationships,
    Reply,
    SearchResult,
)
from hydindex.model import FoundFile, FoundFiles, RemoteFile

ReplyT = TypeVar("ReplyT", bound=Reply)

FILES_PER_REQUEST: Final = 256
"""Hydrus itself works through long lists in batches of this size."""

PERMISSIONS: Final = {3: "search for and fetch files", 8: "edit file relationships"}
READ_ATTEMPTS: Final = 4
LONGEST_BACKOFF_S: Final = 30.0

# The one file domain in which no relationship is hidden, by the key that it has in every client.
# In the default domain a pair cannot be seen while the king of either group lies in the trash, and
# in the local file storage while that king is deleted (v681).
_ALL_KNOWN_FILES: Final = b"all known files".hex()
_POTENTIAL: Final = 0
# No file has this SHA-256; what Hydrus serves for it is the running client's own placeholder.
_IMPOSSIBLE_SHA256: Final = "0" * 64


class HydrusClient:
    """One Hydrus client, spoken to with one access key. Safe to use from several threads.

    Reads are tried again with growing, jittered pauses. A write is sent once: whether to send it
    again is for the caller to decide, who has read back what became of it.

    Every method may raise HydrusUnreachable (no answer, or a 5xx), HydrusAccessDenied (the key),
    HydrusRejected (400, 404) and HydrusBadReply (an answer that no Hydrus client gives).
    """

    def __init__(
        self,
        base_url: str,
        access_key: str,
        *,
        api_timeout_s: float = 60.0,
        thumbnail_timeout_s: float = 60.0,
        post_timeout_s: float = 60.0,
        connections: int = 8,
        backoff_s: float = 0.5,
    ) -> None:
        self._base_url = base_url
        self._api_timeout_s = api_timeout_s
        self._thumbnail_timeout_s = thumbnail_timeout_s
        self._post_timeout_s = post_timeout_s
        self._session = requests.Session()
        # A client on this machine is never behind a proxy, which would be handed the key.
        self._session.trust_env = not _is_loopback(urlsplit(base_url).hostname or "")
        self._session.headers["Hydrus-Client-API-Access-Key"] = access_key
        adapter = HTTPAdapter(pool_maxsize=connections, pool_block=True)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._retrying = Retrying(
            stop=stop_after_attempt(READ_ATTEMPTS),
            wait=wait_exponential(backoff_s, LONGEST_BACKOFF_S) + wait_random(0, backoff_s),
            retry=retry_if_exception_type(HydrusUnreachable),
            reraise=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._session.close()

    def version(self) -> int:
        """Ask which Hydrus version answers, for example 681. Needs no key."""
        return self._read(ApiVersion, "/api_version").hydrus_version

    def require_permissions(self) -> None:
        """Make sure that the key works and may do all that a run needs.

        Raises:
            HydrusAccessDenied: the key is refused, or lacks permission 3 or 8.
        """
        try:
            key = self._read(AccessKey, "/verify_access_key")
        except HydrusRejected as error:  # a key that is not hexadecimal is a 400
            raise _denied(error.message) from None
        missing = PERMISSIONS.keys() - key.basic_permissions
        if missing and not key.permits_everything:
            names = ", ".join(f"'{PERMISSIONS[number]}' ({number})" for number in sorted(missing))
            raise _denied(f"The access key '{key.name}' lacks the permission {names}")

    def search(self, tags: Sequence[str | Sequence[str]]) -> FoundFiles:
        """Find the files that carry all tags; an inner list is an OR group. The trash is left out.

        Raises:
            HydrusRejected: Hydrus cannot parse one of the tags.
        """
        query = {"tags": json.dumps(tags), "return_hashes": "true", "return_file_ids": "true"}
        result = self._read(SearchResult, "/get_files/search_files", query)
        try:
            return result.files()
        except ValueError:
            raise self._bad_reply("lists of ids and hashes that differ in length") from None

    def metadata(self, files: Iterable[FoundFile]) -> dict[str, RemoteFile]:
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
        self._request(
            "POST",
            "/manage_file_relationships/set_file_relationships",
            timeout_s=self._post_timeout_s,
            body={"relationships": rows},
        )

    def _thumbnail(self, query: Mapping[str, str]) -> bytes:
        return self._retrying(
            self._request, "GET", "/get_files/thumbnail", self._thumbnail_timeout_s, query
        )

    def _read(
        self, kind: type[ReplyT], path: str, query: Mapping[str, str] | None = None
    ) -> ReplyT:
        content = self._retrying(self._request, "GET", path, self._api_timeout_s, query)
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise self._bad_reply(f"{first['msg']} ({path} {place})".strip()) from None

    def _request(
        self,
        method: str,
        path: str,
        timeout_s: float,
        query: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> bytes:
        try:
            response = self._session.request(
                method,
                self._base_url + path,
                params=query,
                json=body,
                timeout=timeout_s,
                allow_redirects=False,  # the key must not follow to another host
            )
        except requests.exceptions.SSLError as error:
            raise self._bad_reply(f"it has no encryption that can be trusted ({error})") from None
        except requests.RequestException as error:
            raise self._unreachable(_cause(error, timeout_s)) from None
        if response.status_code == 200:
            return response.content
        text = f"{_error_text(response)} ({response.status_code} at {path})"
        if response.status_code in (401, 403, 419):
            raise _denied(f"Hydrus refuses: {text}")
        if response.status_code >= 500:
            raise self._unreachable(text)
        if response.status_code in (400, 404):
            raise HydrusRejected(f"Hydrus rejects a request: {text}", "See Hydrus's own log.")
        raise self._bad_reply(f"status {response.status_code} at {path}")

    def _unreachable(self, cause: str) -> HydrusUnreachable:
        return HydrusUnreachable(
            f"Hydrus did not answer at {self._base_url}: {cause}",
            "Is the client running, and its Client API switched on (services > manage services > "
            "client api)? Do api_url and api_port name it?",
        )

    def _bad_reply(self, what: str) -> HydrusBadReply:
        return HydrusBadReply(
            f"What answers at {self._base_url} is not a Hydrus client as hydindex knows it: {what}",
            "Do api_url (http or https?) and api_port name the Client API, and nothing else?",
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _denied(message: str) -> HydrusAccessDenied:
    return HydrusAccessDenied(
        message,
        "In Hydrus: services > review services > client api; the key needs 'search for and fetch "
        "files' and 'edit file relationships', and belongs into api_key.",
    )


def _cause(error: requests.RequestException, timeout_s: float) -> str:
    """Say in a few words why no answer came; `requests` itself says it in lines of nested names."""
    if isinstance(error, requests.Timeout):
        return f"no answer within {timeout_s:g} s"
    if "refused" in str(error):
        return "connection refused"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection could not be made, or was cut"
    return type(error).__name__


def _error_text(response: requests.Response) -> str:
    """Read Hydrus's own words out of an error reply, where it has any."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.reason or "no reason given"
