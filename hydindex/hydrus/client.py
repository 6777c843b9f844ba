"""Speaks Hydrus's Client API. Nothing of `requests` leaves this module, its errors neither."""

import json
import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import requests
import urllib3
from pydantic import ValidationError
from requests.adapters import HTTPAdapter
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    wait_exponential,
    wait_random,
)

from hydindex.errors import (
    HydrusAccessDenied,
    HydrusBadReply,
    HydrusDialogClosed,
    HydrusRejected,
    HydrusUnreachable,
)
from hydindex.hydrus.patience import Patience
from hydindex.hydrus.replies import (
    AccessKey,
    ApiVersion,
    FilePath,
    FileRelationships,
    Metadata,
    NewKey,
    Relationships,
    Reply,
    SearchResult,
)
from hydindex.model import FoundFile, FoundFiles, RemoteFile

ReplyT = TypeVar("ReplyT", bound=Reply)

FILES_PER_REQUEST: Final = 256
"""Hydrus itself works through long lists in batches of this size."""

SEARCH_FILES: Final = 3
PERMISSIONS: Final = {SEARCH_FILES: "search for and fetch files", 8: "edit file relationships"}
SEE_LOCAL_PATHS: Final = 13
"""The permission to be told where files lie on the client's disk; nothing depends on it."""
MANAGE_POPUPS: Final = 10
"""The permission to show a popup in the client; no run depends on it."""
OPEN_DIALOG: Final = "services > review services > local > client api > add > from api request"
"""Where the user lets the client take a request for an access key."""
READ_ATTEMPTS: Final = 4
LONGEST_BACKOFF_S: Final = 30.0
# A client that listens takes up a connection at once, however busy it is.
CONNECT_TIMEOUT_S: Final = 10.0
# Nobody waits for a popup.
POPUP_TIMEOUT_S: Final = 5.0
LONGEST_ERROR_TEXT: Final = 300
# A search that finds a million files is answered with 76 MB.
_LARGEST_ANSWER_BYTES: Final = 1 << 30
_LARGEST_THUMBNAIL_BYTES: Final = 64 << 20
_CHUNK_BYTES: Final = 1 << 20

# The one file domain in which no relationship is hidden, by the key that it has in every client.
# In the default domain a pair cannot be seen while the king of either group lies in the trash, and
# in the local file storage while that king is deleted (v681).
_ALL_KNOWN_FILES: Final = b"all known files".hex()
_REQUEST_KEY: Final = "/request_new_permissions"
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
        patience: Patience | None = None,
    ) -> None:
        self._base_url = base_url
        self._access_key = access_key
        self._verify = verify
        self._patience = patience or Patience()
        self._closed = threading.Event()
        self._api_timeout_s = api_timeout_s
        self._thumbnail_timeout_s = thumbnail_timeout_s
        self._post_timeout_s = post_timeout_s
        if verify is False:
            # Whoever switched that off has been told; urllib3 would tell again at every request.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._session = _Session()
        # No proxy is handed the key, and no certificates count but those of the config, whatever
        # the environment says.
        self._session.trust_env = False
        self._session.headers["Accept-Encoding"] = "identity"
        if access_key is not None:
            self._session.headers["Hydrus-Client-API-Access-Key"] = access_key
        self._session.mount("http://", HTTPAdapter(pool_maxsize=connections, pool_block=True))
        secure = _TlsAdapter(server_name, pool_maxsize=connections, pool_block=True)
        self._session.mount("https://", secure)
        self._retrying = Retrying(
            stop=self._is_to_stop,
            wait=wait_exponential(backoff_s, LONGEST_BACKOFF_S) + wait_random(0, backoff_s),
            sleep=sleep_using_event(self._closed),
            before_sleep=self._count_pause,
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
        self._closed.set()  # wakes the threads that pause before they try again
        self._session.close()

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
        return self._read(NewKey, _REQUEST_KEY, query).access_key

    def require_permissions(self) -> None:
        """Make sure that the key works and may do all that a run needs.

        Raises:
            HydrusAccessDenied: the key is refused, or lacks permission 3 or 8.
        """
        key = self._access()
        missing = PERMISSIONS.keys() - key.basic_permissions
        if missing and not key.permits_everything:
            names = ", ".join(f"'{PERMISSIONS[number]}' ({number})" for number in sorted(missing))
            raise self._denied(f"The access key '{key.name}' lacks the permission {names}")

    def permits(self, permission: int) -> bool:
        """Ask whether the key has a permission, by the number that Hydrus has for it."""
        key = self._access()
        return key.permits_everything or permission in key.basic_permissions

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

    def file_part(self, hydrus_id: int, part: range) -> bytes:
        """Fetch bytes of a file, from `part.start` up to, not with, `part.stop`.

        The part must lie within the file. Asked for one byte more than there is, Hydrus promises it
        and never sends it; asked for what begins past the end, it sends the whole file.

        Raises:
            HydrusRejected: the client knows the file, or not even that, but does not have it.
        """
        query = {"file_id": str(hydrus_id)}
        answer = self._get("/get_files/file", self._thumbnail_timeout_s, query, len(part), part)
        if len(answer.content) != len(part):
            raise self._bad_reply("a part of a file that is shorter than what was asked for")
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
            raise self._bad_reply("it leaves out the relationships of some files")
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

    def add_popup(self, title: str, *texts: str) -> None:
        """Show a popup of up to two texts, which stays until the user dismisses it; sent once.

        Needs the permission MANAGE_POPUPS.
        """
        body = {"status_title": title}
        body |= {f"status_text_{number}": text for number, text in enumerate(texts, 1)}
        timeout_s = min(POPUP_TIMEOUT_S, self._post_timeout_s)
        self._request("POST", "/manage_popups/add_popup", timeout_s, body=body)

    def _access(self) -> AccessKey:
        try:
            return self._read(AccessKey, "/verify_access_key")
        except HydrusRejected as error:  # a key that is not hexadecimal is a 400
            raise self._denied(error.message) from None

    def _thumbnail(self, query: Mapping[str, str]) -> bytes:
        answer = self._get(
            "/get_files/thumbnail", self._thumbnail_timeout_s, query, _LARGEST_THUMBNAIL_BYTES
        )
        if not answer.content_type.startswith("image/"):
            raise self._bad_reply(f"a thumbnail that is {answer.content_type or 'of no type'}")
        return answer.content

    def _read(
        self, kind: type[ReplyT], path: str, query: Mapping[str, str] | None = None
    ) -> ReplyT:
        answer = self._get(path, self._api_timeout_s, query)
        try:
            return kind.model_validate_json(answer.content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise self._bad_reply(f"{first['msg']} ({path} {place})".strip()) from None

    def _get(
        self,
        path: str,
        timeout_s: float,
        query: Mapping[str, str] | None,
        largest_bytes: int = _LARGEST_ANSWER_BYTES,
        part: range | None = None,
    ) -> "_Answer":
        return self._retrying(self._try_to_get, path, timeout_s, query, largest_bytes, part)

    def _try_to_get(
        self,
        path: str,
        timeout_s: float,
        query: Mapping[str, str] | None,
        largest_bytes: int,
        part: range | None,
    ) -> "_Answer":
        if self._patience.is_at_an_end:
            raise self._unreachable("it failed so often that this run gives up")
        if self._closed.is_set():
            raise self._unreachable("the run is over")
        with self._patience.tried():
            return self._request(
                "GET", path, timeout_s, query, largest_bytes=largest_bytes, part=part
            )

    def _is_to_stop(self, state: RetryCallState) -> bool:
        tried_enough = state.attempt_number >= READ_ATTEMPTS
        return tried_enough or self._closed.is_set() or not self._patience.allows_retries

    def _count_pause(self, state: RetryCallState) -> None:
        if state.next_action is not None:
            self._patience.lose(state.next_action.sleep)

    def _request(
        self,
        method: str,
        path: str,
        timeout_s: float,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        largest_bytes: int = _LARGEST_ANSWER_BYTES,
        part: range | None = None,
    ) -> "_Answer":
        headers = {} if part is None else {"Range": f"bytes={part.start}-{part.stop - 1}"}
        try:
            # The block gives the connection back, also where the body turns out to be unreadable.
            with self._session.request(
                method,
                self._base_url + path,
                params=query,
                json=body,
                headers=headers,
                timeout=(min(CONNECT_TIMEOUT_S, timeout_s), timeout_s),
                verify=self._verify,
                stream=True,
            ) as response:
                content = self._body(response, largest_bytes)
        except requests.exceptions.SSLError as error:
            distrust = _distrust(error)
            if distrust is None:  # it was cut off while the encryption was agreed on
                raise self._unreachable(_cause(error, timeout_s)) from None
            raise self._untrusted(distrust) from None
        except requests.RequestException as error:
            raise self._unreachable(_cause(error, timeout_s)) from None
        if response.status_code == (200 if part is None else 206):
            return _Answer(content, response.headers.get("Content-Type", ""))
        text = f"{_error_text(response, content)} ({response.status_code} at {path})"
        if response.status_code in (401, 403, 419):
            raise self._denied(f"Hydrus refuses: {text}")
        if response.status_code >= 500:
            raise self._unreachable(text)
        if response.status_code == 409 and path == _REQUEST_KEY:
            raise HydrusDialogClosed(
                "Hydrus gives out no access key while its dialog for that is not open",
                f"In Hydrus: {OPEN_DIALOG}.",
            )
        if response.status_code in (400, 404):
            raise HydrusRejected(
                f"Hydrus rejects a request: {self._clean(text)}", "See Hydrus's own log."
            )
        if "Location" in response.headers:
            raise self._bad_reply(f"a redirect at {path}, which hydindex does not follow")
        raise self._bad_reply(f"status {response.status_code} at {path}")

    def _body(self, response: requests.Response, largest_bytes: int) -> bytes:
        """Read what comes, up to a limit: a few bytes may unpack to more than the memory holds."""
        content = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            content += chunk
            if len(content) > largest_bytes:
                raise self._bad_reply(f"an answer of more than {largest_bytes >> 20} MB")
        return bytes(content)

    def _clean(self, text: str) -> str:
        """Make of what others say a line that can be shown: never the key."""
        if self._access_key is not None:
            text = re.sub(re.escape(self._access_key), "[the access key]", text, flags=re.I)
        first_line = text.strip().partition("\n")[0]
        shown = first_line[:LONGEST_ERROR_TEXT]
        return "".join(each if each.isprintable() else "?" for each in shown)

    def _denied(self, what: str) -> HydrusAccessDenied:
        return HydrusAccessDenied(
            self._clean(what),
            "In Hydrus: services > review services > client api; the key needs 'search for and "
            "fetch files' and 'edit file relationships', and belongs into api_key.",
        )

    def _unreachable(self, cause: str) -> HydrusUnreachable:
        return HydrusUnreachable(
            f"Hydrus did not answer at {self._base_url}: {self._clean(cause)}",
            "Is the client running, and its Client API switched on (services > manage services > "
            "client api)? Do api_url and api_port name it?",
        )

    def _untrusted(self, what: str) -> HydrusBadReply:
        return HydrusBadReply(
            f"The encryption of {self._base_url} cannot be trusted: {what}",
            "Hydrus's own certificate is self-signed and made out to localhost: put the path of "
            "its client.crt into tls.ca_bundle, and localhost into tls.server_name. If the Client "
            "API does not use https, begin api_url with http.",
        )

    def _bad_reply(self, what: str) -> HydrusBadReply:
        return HydrusBadReply(
            f"What answers at {self._base_url} is not a Hydrus client as hydindex knows it: "
            f"{self._clean(what)}",
            "Do api_url (http or https?) and api_port name the Client API, and nothing else?",
        )


@dataclass(frozen=True, slots=True)
class _Answer:
    """What came with status 200, or 206 for a part."""

    content: bytes
    content_type: str


class _Session(requests.Session):
    """Follows no redirect: the key must not get to another host. Nor does it read whereto."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Say that there is none."""


class _TlsAdapter(HTTPAdapter):
    """Connects; a certificate may be made out to another name than the host of the address."""

    def __init__(self, server_name: str | None, **settings: Any) -> None:
        self._server_name = server_name
        super().__init__(**settings)

    def init_poolmanager(self, *sizes: Any, **settings: Any) -> None:
        super().init_poolmanager(*sizes, **settings, assert_hostname=self._server_name)


def _cause(error: requests.RequestException, timeout_s: float) -> str:
    """Say in a few words why no answer came; `requests` itself says it in lines of nested names."""
    if isinstance(error, requests.Timeout) or "timed out" in str(error):
        return f"no answer within {timeout_s:g} s"
    if "refused" in str(error):
        return "connection refused"
    if "Failed to resolve" in str(error):
        return "no address is known for that name"
    if isinstance(error, requests.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return "the connection could not be made, or was cut"
    return type(error).__name__


def _error_text(response: requests.Response, content: bytes) -> str:
    """Read Hydrus's own words out of an error reply, where it has any."""
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return response.reason or "no reason given"


def _distrust(error: requests.exceptions.SSLError) -> str | None:
    """Say why an encryption is not to be trusted; None where it only was cut off."""
    text = str(error)
    if found := re.search("certificate verify failed: ([^()]+)", text):
        return found[1].strip()
    if "doesn't match" in text:
        return "its certificate is made out to another name"
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return "it does not speak https at all"
    return None
