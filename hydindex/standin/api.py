"""What all endpoints of the Client API share: requests, arguments, replies and refusals.

Texts, statuses and the order of the checks are those of Hydrus v681 (API 94).
"""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from email.message import Message
from pathlib import Path
from typing import Any

from hydindex.standin import services
from hydindex.standin.state import Access, ClientState, HydrusFile

_HASH_BYTES = 32


# ---- Requests and replies


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request; `headers` ignores the case of names.

    In the log, `status` is that of the reply, or None if the connection was dropped.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Message
    body: bytes
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply, sent after `silence_s` seconds.

    A `Content-Length` in `headers`, right or wrong, replaces the true one.
    """

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    silence_s: float = 0.0


# Hydrus's web server, not its own code, answers requests for unknown paths.
NO_SUCH_PAGE = Reply(
    status=404,
    body=(
        b"<!DOCTYPE html>\n<html><head><title>404 - No Such Resource</title></head><body>"
        b"<h1>No Such Resource</h1><p>Sorry. No luck finding that resource.</p></body></html>"
    ),
    content_type="text/html; charset=utf-8",
)


@dataclass(eq=False)
class Refusal(Exception):
    """An error reply; `kind` is the name of Hydrus's exception."""

    status: int
    kind: str
    text: str


def bad_request(text: str) -> Refusal:
    """Make a refusal of a malformed request."""
    return Refusal(400, "BadRequestException", text)


def not_found(text: str) -> Refusal:
    """Make a refusal of a request for something that does not exist."""
    return Refusal(404, "NotFoundException", text)


def _no_access(text: str) -> Refusal:
    return Refusal(403, "InsufficientCredentialsException", text)


def api_version_of(hydrus_version: int) -> int:
    """Return the version of the Client API that a version of Hydrus has."""
    return 94 if hydrus_version <= 681 else 95


def json_reply(content: Mapping[str, Any], hydrus_version: int, status: int = 200) -> Reply:
    """Make a reply from a JSON object and the versions that every reply carries."""
    versions = {"version": api_version_of(hydrus_version), "hydrus_version": hydrus_version}
    headers = {"Cache-Control": "max-age=4", "Content-Disposition": "inline"}
    body = json.dumps({**content, **versions}).encode()
    return Reply(status, body, "application/json", headers)


def error_reply(refusal: Refusal, hydrus_version: int) -> Reply:
    """Make the reply for a refusal."""
    kind, status = refusal.kind, refusal.status
    content = {"error": refusal.text, "exception_type": kind, "status_code": status}
    return json_reply(content, hydrus_version, status)


# ---- Arguments

_TEXT_ARGUMENTS = {"name", "hash", "file_service_key"}  # the others are JSON


def parse_arguments(request: Request) -> dict[str, Any]:
    """Return the arguments in the query of a GET or in the JSON body of a POST.

    Raises:
        Refusal: 400, they are malformed.
    """
    if request.method == "POST":
        return _parse_body(request)
    arguments = {}
    for name, text in request.query.items():
        try:
            arguments[name] = text if name in _TEXT_ARGUMENTS else json.loads(text)
        except json.JSONDecodeError:
            raise bad_request(
                f"I was expecting to parse '{name}' as a json-encoded string, but it failed."
            ) from None
    return arguments


def _parse_body(request: Request) -> dict[str, Any]:
    if request.headers.get_content_type() != "application/json":
        raise bad_request("Did not recognise Content-Type header!")
    try:
        arguments: dict[str, Any] = json.loads(request.body)
    except json.JSONDecodeError as error:
        raise bad_request(f"Sorry, did not understand the JSON you gave me: {error}") from None
    return arguments


def required(arguments: Mapping[str, Any], name: str) -> Any:
    """Return a required argument.

    Raises:
        Refusal: 400, it is missing.
    """
    if name not in arguments:
        raise bad_request(f'The required parameter "{name}" was missing!')
    return arguments[name]


# ---- Search

_Predicate = Callable[[HydrusFile], bool]
_SYSTEM_PREDICATES: dict[str, _Predicate] = {
    "system:everything": lambda _file: True,
    "system:has duration": lambda file: bool(file.duration_ms),
    "system:filetype is video": lambda file: file.mime.startswith("video/"),
    "system:filetype is image": lambda file: file.is_still_image,
    "system:filetype is webm": lambda file: file.mime == "video/webm",
}
_HASH_IS = re.compile(r"system:hash is ([0-9a-f]{64})")
_DURATION_BELOW = re.compile(r"system:duration < (\d+(?:\.\d+)?) seconds?")


def all_of(tags: Sequence[Any]) -> _Predicate:
    """Match files with all tags; a list among them is an OR group."""
    groups = [
        [_predicate(str(one)) for one in (tag if isinstance(tag, list) else [tag])] for tag in tags
    ]
    return lambda file: all(any(predicate(file) for predicate in group) for group in groups)


def _predicate(tag: str) -> _Predicate:
    text = tag.strip().lower()
    if text in _SYSTEM_PREDICATES:
        return _SYSTEM_PREDICATES[text]
    if match := _HASH_IS.fullmatch(text):
        wanted = match[1]
        return lambda file: file.hash == wanted
    if match := _DURATION_BELOW.fullmatch(text):
        limit_ms = float(match[1]) * 1000
        return lambda file: file.duration_ms is not None and file.duration_ms < limit_ms
    if text.startswith("system:"):
        raise bad_request(f'Could not parse system predicate "{tag}"!')
    if text.startswith("-"):
        return lambda file: text[1:] not in file.tags
    return lambda file: text in file.tags


# ---- Calls


@dataclass(frozen=True, slots=True)
class Call:
    """A permitted request."""

    caller: Access
    client: ClientState
    arguments: Mapping[str, Any]
    range_header: str

    def domain(self) -> str:
        """Return the service key of the wanted file domain; the default excludes the trash."""
        key: str = self.arguments.get("file_service_key", services.LOCAL_MEDIA)
        if key not in services.FILE_DOMAINS:
            raise bad_request(f'Could not find the file service "{key}"!')
        return key

    def hashes(self) -> list[str]:
        """Return the wanted files, each once, in the order of the request."""
        hashes = self._all_named("hash", "hashes")
        file_ids = self._all_named("file_id", "file_ids")
        if not hashes and not file_ids:
            raise bad_request("Please include some files in your request--file_id or hash based!")
        if novel := [file_id for file_id in file_ids if file_id not in self.client.hashes]:
            raise not_found(
                "It seems you gave a file_id that does not exist! "
                f"Was asked about these novel hash_ids: {novel}"
            )
        hashes += [self.client.hashes[file_id] for file_id in file_ids]
        check_hash_lengths(hashes)
        return list(dict.fromkeys(hashes))

    def file(self) -> HydrusFile | None:
        """Return the one wanted file, or None if the client does not know it."""
        if "file_id" in self.arguments:
            self.check_ids([self.arguments["file_id"]])
            file_hash = self.client.hashes.get(self.arguments["file_id"], "")
        elif "hash" in self.arguments:
            if self.caller.is_restricted:
                raise _no_access(
                    "You do not have permission to see all files, so you cannot do this."
                )
            file_hash = self.arguments["hash"]
        else:
            raise bad_request("Please include a file_id or hash parameter!")
        return self.client.files.get(file_hash)

    def stored_file(self) -> tuple[HydrusFile, Path]:
        """Return the one wanted file, which must not be deleted, and its path."""
        file = self.file()
        if file is None or self.client.is_deleted(file.hash):
            raise Refusal(404, "FileMissingException", "The client does not have this file!")
        if file.video is None or not file.video.exists():
            raise not_found("That file seems to be missing!")
        return file, file.video

    def check_ids(self, file_ids: Collection[int]) -> None:
        """Refuse ids that a restricted key did not find in its last search."""
        if not self.caller.is_restricted:
            return
        last_search = self.client.last_search_of.get(self.caller.name)
        if last_search is None:
            raise bad_request(
                "It looks like those search results are no longer available--please run the search "
                "again!"
            )
        allowed = len(last_search.intersection(file_ids))
        if allowed != len(file_ids):
            raise _no_access(
                "You do not seem to have access to all those files! You asked to see "
                f"{len(file_ids):,} files, but you were only authorised to see {allowed:,} of them!"
            )

    def _all_named(self, one: str, many: str) -> list[Any]:
        first = [self.arguments[one]] if one in self.arguments else []
        return [*first, *self.arguments.get(many, [])]


def check_hash_lengths(hashes: list[str]) -> None:
    """Refuse (400) hashes of the wrong length."""
    for each in hashes:
        if len(each) != 2 * _HASH_BYTES:
            raise bad_request(
                "Sorry, one of the given hashes was the wrong length! sha256 hashes should be "
                f"{_HASH_BYTES} bytes long, but {each} is {len(each) // 2} bytes long!"
            )
