"""Carries requests to a Hydrus client, and says what came of each in hydindex's own words.

Nothing of `requests` leaves this module, its errors neither.
"""

import json
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    wait_exponential,
    wait_random,
)

from hydindex.common.errors import (
    HydrusAccessDenied,
    HydrusBadReply,
    HydrusDialogClosed,
    HydrusRejected,
    HydrusUnreachable,
)
from hydindex.hydrus.retry_budget import RetryBudget

READ_ATTEMPTS: Final = 4
LONGEST_BACKOFF_S: Final = 30.0
# A client that listens takes up a connection at once, however busy it is.
CONNECT_TIMEOUT_S: Final = 10.0
LONGEST_ERROR_TEXT: Final = 300
# A search that finds a million files is answered with 76 MB.
_LARGEST_ANSWER_BYTES: Final = 1 << 30
_CHUNK_BYTES: Final = 1 << 20

REQUEST_KEY_PATH: Final = "/request_new_permissions"
OPEN_DIALOG: Final = "services > review services > local > client api > add > from api request"
"""Where the user lets the client take a request for an access key."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came with status 200, or 206 for a part."""

    content: bytes
    content_type: str


class Transport:
    """The way to one client, with one access key or none. Safe to use from several threads.

    Reads are tried again with growing, jittered pauses, while the patience of the run lasts. A
    write is sent once. No redirect is followed, and no error holds the key.
    """

    def __init__(
        self,
        base_url: str,
        access_key: str | None,
        *,
        connections: int,
        backoff_s: float,
        verify: bool | str,
        server_name: str | None,
        patience: RetryBudget,
    ) -> None:
        self._base_url = base_url
        self._access_key = access_key
        self._verify = verify
        self._patience = patience
        self._closed = threading.Event()
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

    def close(self) -> None:
        """Wake the threads that pause before they try again, and let nothing through any more."""
        self._closed.set()
        self._session.close()

    def get(
        self,
        path: str,
        timeout_s: float,
        query: Mapping[str, str] | None = None,
        *,
        largest_bytes: int = _LARGEST_ANSWER_BYTES,
        part: range | None = None,
    ) -> Answer:
        """Read what a path answers, or some bytes of it, tried again where no answer comes."""
        return self._retrying(self._try_to_get, path, timeout_s, query, largest_bytes, part)

    def post(self, path: str, timeout_s: float, body: Mapping[str, Any]) -> None:
        """Send a body as JSON, once."""
        self._request("POST", path, timeout_s, body=body)

    def denied(self, what: str) -> HydrusAccessDenied:
        """Make the error that the key is refused, or permits too little."""
        return HydrusAccessDenied(
            self._clean(what),
            "In Hydrus: services > review services > client api; the key needs 'search for and "
            "fetch files' and 'edit file relationships', and belongs into api_key.",
        )

    def bad_reply(self, what: str) -> HydrusBadReply:
        """Make the error that no Hydrus client would answer so."""
        return HydrusBadReply(
            f"What answers at {self._base_url} is not a Hydrus client as hydindex knows it: "
            f"{self._clean(what)}",
            "Do api_url (http or https?) and api_port name the Client API, and nothing else?",
        )

    def _try_to_get(
        self,
        path: str,
        timeout_s: float,
        query: Mapping[str, str] | None,
        largest_bytes: int,
        part: range | None,
    ) -> Answer:
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
    ) -> Answer:
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
            return Answer(content, response.headers.get("Content-Type", ""))
        text = f"{_error_text(response, content)} ({response.status_code} at {path})"
        if response.status_code in (401, 403, 419):
            raise self.denied(f"Hydrus refuses: {text}")
        if response.status_code >= 500:
            raise self._unreachable(text)
        if response.status_code == 409 and path == REQUEST_KEY_PATH:
            raise HydrusDialogClosed(
                "Hydrus gives out no access key while its dialog for that is not open",
                f"In Hydrus: {OPEN_DIALOG}.",
            )
        if response.status_code in (400, 404):
            raise HydrusRejected(
                f"Hydrus rejects a request: {self._clean(text)}", "See Hydrus's own log."
            )
        if "Location" in response.headers:
            raise self.bad_reply(f"a redirect at {path}, which hydindex does not follow")
        raise self.bad_reply(f"status {response.status_code} at {path}")

    def _body(self, response: requests.Response, largest_bytes: int) -> bytes:
        """Read what comes, up to a limit: a few bytes may unpack to more than the memory holds."""
        content = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            content += chunk
            if len(content) > largest_bytes:
                raise self.bad_reply(f"an answer of more than {largest_bytes >> 20} MB")
        return bytes(content)

    def _clean(self, text: str) -> str:
        """Make of what others say a line that can be shown: never the key."""
        if self._access_key is not None:
            text = re.sub(re.escape(self._access_key), "[the access key]", text, flags=re.I)
        first_line = text.strip().partition("\n")[0]
        shown = first_line[:LONGEST_ERROR_TEXT]
        return "".join(each if each.isprintable() else "?" for each in shown)

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
