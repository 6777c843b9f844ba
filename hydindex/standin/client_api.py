"""The way of a request through the Client API: its key, its arguments, its permission, its reply.

Texts, statuses and the order of the checks are those of Hydrus v681 (API 94).
"""

from dataclasses import dataclass
from email.message import Message

from hydindex.standin.access import NOBODY
from hydindex.standin.arguments import parse_body, parse_query, parse_range
from hydindex.standin.client_state import ClientState
from hydindex.standin.endpoints import ENDPOINTS, Call, Endpoint
from hydindex.standin.replies import NO_SUCH_PAGE, JsonReplies, Refusal, Reply, not_found

_FIRST_VERSION_WITH_API_95 = 682


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; looking up `headers` disregards the case of a name."""

    method: str
    path: str
    query: str
    headers: Message
    body: bytes = b""


class ClientApi:
    """Answers requests out of a client's memory; one at a time, which is the caller's business."""

    def __init__(self, state: ClientState) -> None:
        version = state.hydrus_version
        api_version = 94 if version < _FIRST_VERSION_WITH_API_95 else 95
        self._json = JsonReplies(api_version, version)
        self._state = state
        self.server_name = f"client api/{api_version} ({version})"

    def answer(self, request: Request) -> Reply:
        """Carry a request out, or tell why not."""
        endpoint = ENDPOINTS.get(request.path)
        if endpoint is None:
            return NO_SUCH_PAGE
        try:
            result = endpoint.run(self._checked(request, endpoint))
        except Refusal as refusal:
            return self.refused(refusal)
        return result if isinstance(result, Reply) else self._json.reply(result)

    def refused(self, refusal: Refusal) -> Reply:
        """Word a refusal."""
        return self._json.refusal(refusal)

    def _checked(self, request: Request, endpoint: Endpoint) -> Call:
        # In this order: the key, the arguments, whether there was a key, what it permits, and
        # only then whether the path takes the method.
        key = request.headers.get("Hydrus-Client-API-Access-Key")
        keys = self._state.access_keys
        caller = NOBODY if key is None or not endpoint.needs_key else keys.access_of(key)
        if request.method == "POST":
            arguments = parse_body(request.headers.get("Content-Type"), request.body)
        else:
            arguments = parse_query(request.query)
        if endpoint.needs_key and key is None:
            text = "No access key or session key provided!"
            raise Refusal(401, "MissingCredentialsException", text)
        if endpoint.permission is not None:
            caller.check(endpoint.permission)
        if request.method != endpoint.method:
            raise not_found("This service does not support that request!")
        return Call(caller, self._state, arguments, parse_range(request.headers.get("Range")))
