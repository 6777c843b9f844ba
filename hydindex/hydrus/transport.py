"""Send requests to a Hydrus client, and turn every failure into a `HydindexError`.

No other module uses requests or sees its errors.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import requests
import urllib3
from requests.adapters import HTTPAdapter

from hydindex.common.errors import (
    HydindexError,
    HydrusAccessDenied,
    HydrusBadReply,
    HydrusDialogClosed,
    HydrusRejected,
    HydrusUnreachable,
)
from hydindex.hydrus.permissions import OPEN_DIALOG
from hydindex.hydrus.retry import Retries

# Even a busy client accepts a connection at once.
_CONNECT_TIMEOUT_S: Final = 10.0
_MAX_ERROR_TEXT: Final = 300
# The answer to a search that finds a million files is 76 MB, with their hashes.
_MAX_ANSWER_BYTES: Final = 1 << 30
_CHUNK_BYTES: Final = 1 << 20


# In the texts of TLS errors: reasons not to send the key. A handshake can also just be cut.
_UNTRUSTED: Final = re.compile(
    "certificate verify failed: [^()]+|hostname .+ doesn't match [^\")]+"
    "|wrong version number|record layer failure"
)


class Transport:
    """HTTP requests to one client, with one access key or none. Thread-safe.

    Reads are retried as `retries` says; without it, they are sent once, as writes always are.
    Redirects are not followed. No error contains the key.

    `verify` says whether to check an https certificate, or is the path of a PEM file to check it
    against; `server_name` is the name on the certificate if it differs from the host.
    """

    def __init__(
        self,
        base_url: str,
        access_key: str | None,
        *,
        connections: int = 8,
        verify: bool | str = True,
        server_name: str | None = None,
        retries: Retries | None = None,
    ) -> None:
        self._base_url = base_url
        self._access_key = access_key
        self._verify = verify
        self._retries = retries or Retries(0.0, budget_s=0.0)
        if verify is False:
            # hydindex warns about tls.verify once; urllib3 would warn at every request.
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        self._session = _Session()
        # Ignore proxies and certificates from the environment: only the config counts.
        self._session.trust_env = False
        self._session.headers["Accept-Encoding"] = "identity"
        if access_key is not None:
            self._session.headers["Hydrus-Client-API-Access-Key"] = access_key
        self._session.mount("http://", HTTPAdapter(pool_maxsize=connections, pool_block=True))
        tls = HTTPAdapter(pool_maxsize=connections, pool_block=True)
        # Check the certificate against this name instead of the host in the URL.
        tls.poolmanager.connection_pool_kw["assert_hostname"] = server_name
        self._session.mount("https://", tls)

    def close(self) -> None:
        """Close all connections and stop all retries."""
        self._retries.stop()
        self._session.close()

    def get(
        self,
        path: str,
        timeout_s: float,
        query: Mapping[str, str] | None = None,
        *,
        max_bytes: int = _MAX_ANSWER_BYTES,
        media_type: str = "",
        part: range | None = None,
    ) -> bytes:
        """Read a path, or the bytes `part` of it; retry while no answer comes.

        `media_type` is how the type of the content must begin.
        """
        headers = {} if part is None else {"Range": f"bytes={part.start}-{part.stop - 1}"}

        def send() -> bytes:
            return self._send(
                "GET", path, timeout_s, max_bytes, media_type, params=query, headers=headers
            )

        return self._retries.call(send)

    def post(self, path: str, timeout_s: float, body: Mapping[str, Any]) -> None:
        """Send a body as JSON, once."""
        self._send("POST", path, timeout_s, json=body)

    def denied(self, what: str) -> HydrusAccessDenied:
        """Return the error for a key that is refused or lacks a permission."""
        return HydrusAccessDenied(
            self._clean(what),
            "In Hydrus, open services > review services > client api. The key in api_key needs the "
            "permissions 'search for and fetch files' and 'edit file relationships'.",
        )

    def bad_reply(self, what: str) -> HydrusBadReply:
        """Return the error for a reply that the Client API does not send."""
        return HydrusBadReply(
            f"Unexpected reply from {self._base_url}: {self._clean(what)}",
            "Check that api_url (http or https) and api_port name the Client API itself.",
        )

    def _send(
        self,
        method: str,
        path: str,
        timeout_s: float,
        max_bytes: int = _MAX_ANSWER_BYTES,
        media_type: str = "",
        **content: Any,
    ) -> bytes:
        try:
            # Leaving the block returns the connection to the pool, even if the body is unreadable.
            with self._session.request(
                method,
                self._base_url + path,
                timeout=(min(_CONNECT_TIMEOUT_S, timeout_s), timeout_s),
                verify=self._verify,
                stream=True,
                **content,
            ) as response:
                body = self._body(response, max_bytes)
        except requests.RequestException as error:
            raise self._no_answer(error, timeout_s) from None
        expected_status = 206 if content.get("headers") else 200  # 206 answers a request for a part
        if response.status_code != expected_status:
            raise self._failure(path, response, body)
        content_type = response.headers.get("Content-Type", "")
        if not content_type.startswith(media_type):
            raise self.bad_reply(f"type '{content_type}' at {path}")
        return body

    def _body(self, response: requests.Response, max_bytes: int) -> bytes:
        """Read the body up to a limit: a few compressed bytes may unpack to gigabytes."""
        content = bytearray()
        for chunk in response.iter_content(_CHUNK_BYTES):
            content += chunk
            if len(content) > max_bytes:
                raise self.bad_reply(f"an answer of more than {max_bytes / 2**20:g} MB")
        return bytes(content)

    def _failure(self, path: str, response: requests.Response, content: bytes) -> HydindexError:
        status = response.status_code
        text = f"{_error_text(response, content)} ({status} at {path})"
        if status in (401, 403, 419):
            return self.denied(f"Hydrus refused access: {text}")
        if status in (400, 404):
            message = f"Hydrus rejected the request: {self._clean(text)}"
            return HydrusRejected(message, "Look for details in Hydrus's log.")
        if status == 409:
            return HydrusDialogClosed(
                "Hydrus grants access keys only while its dialog for them is open",
                f"In Hydrus, open {OPEN_DIALOG}.",
            )
        if status >= 500:
            return self._unreachable(text)
        if "Location" in response.headers:
            return self.bad_reply(f"a redirect at {path}")
        return self.bad_reply(f"status {status} at {path}")

    def _clean(self, text: str) -> str:
        """Return foreign text as one short printable line without the key."""
        if self._access_key is not None:
            text = re.sub(re.escape(self._access_key), "[the access key]", text, flags=re.I)
        line = text.strip().partition("\n")[0][:_MAX_ERROR_TEXT]
        return "".join(each if each.isprintable() else "?" for each in line)

    def _no_answer(self, error: requests.RequestException, timeout_s: float) -> HydindexError:
        text = str(error)
        if untrusted := _UNTRUSTED.search(text):
            return HydrusBadReply(
                f"The TLS connection to {self._base_url} cannot be trusted: {untrusted[0].strip()}",
                "Hydrus's own certificate is self-signed and names localhost: set tls.ca_bundle to "
                "the path of its client.crt, and tls.server_name to localhost. If the Client API "
                "does not use https, begin api_url with http.",
            )
        if isinstance(error, requests.Timeout) or "timed out" in text:
            return self._unreachable(f"no answer within {timeout_s:g} s")
        if "refused" in text:
            return self._unreachable("connection refused")
        if "Failed to resolve" in text:
            return self._unreachable("unknown host name")
        return self._unreachable("the connection failed or was cut")

    def _unreachable(self, cause: str) -> HydrusUnreachable:
        return HydrusUnreachable(
            f"Hydrus did not answer at {self._base_url}: {self._clean(cause)}",
            "Start the client, enable its Client API (services > manage services > client api), "
            "and check api_url and api_port.",
        )


class _Session(requests.Session):
    """Never follows a redirect, which could send the key to another host."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return no target."""


def _error_text(response: requests.Response, content: bytes) -> str:
    """Return Hydrus's own error text, if the reply has one."""
    try:
        return str(json.loads(content)["error"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return response.reason or "no reason given"
