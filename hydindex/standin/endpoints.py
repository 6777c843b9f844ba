"""The endpoints of the Client API; `answer` finds the right one and runs it.

Texts, statuses and the order of the checks are those of Hydrus v681 (API 94).
"""

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from hydindex.standin import api, services, state
from hydindex.standin.api import Call, Refusal, Reply, Request, bad_request, not_found, required
from hydindex.standin.relationships import Relationship
from hydindex.standin.state import Access, ClientState, HydrusFile

_PERMISSION_TEXTS = {  # in Hydrus's order
    state.RELATIONSHIPS: "edit file relationships",
    state.ADD_FILES: "import and delete files",
    state.POPUPS: "manage popups",
    state.SEARCH: "search for and fetch files",
    state.LOCAL_PATHS: "see local file paths",
}

_Run = Callable[[Call], dict[str, Any] | Reply]


@dataclass(frozen=True, slots=True)
class _Endpoint:
    method: str
    permission: int | None
    needs_key: bool
    run: _Run


_ENDPOINTS: dict[str, _Endpoint] = {}


def _endpoint(
    method: str, path: str, permission: int | None = None, *, needs_key: bool = True
) -> Callable[[_Run], _Run]:
    """Register a function as the endpoint at a path."""

    def register(run: _Run) -> _Run:
        _ENDPOINTS[path] = _Endpoint(method, permission, needs_key, run)
        return run

    return register


def answer(client: ClientState, request: Request) -> Reply | Refusal:
    """Carry out a request. The caller holds the client's lock."""
    endpoint = _ENDPOINTS.get(request.path)
    if endpoint is None:
        return api.NO_SUCH_PAGE
    try:
        result = endpoint.run(_checked(client, request, endpoint))
    except Refusal as refusal:
        return refusal
    return result if isinstance(result, Reply) else api.json_reply(result, client.hydrus_version)


def _checked(client: ClientState, request: Request, endpoint: _Endpoint) -> Call:
    # Hydrus checks in this order: validity of the key, arguments, presence of a key, permission,
    # method.
    key = request.headers.get("Hydrus-Client-API-Access-Key") if endpoint.needs_key else None
    caller = Access("", frozenset()) if key is None else _access_of(client, key)
    arguments = api.parse_arguments(request)
    if endpoint.needs_key and key is None:
        raise Refusal(401, "MissingCredentialsException", "No access key or session key provided!")
    if endpoint.permission is not None and endpoint.permission not in caller.permissions:
        text = f"You do not have permission to: {_PERMISSION_TEXTS[endpoint.permission]}"
        raise Refusal(403, "InsufficientCredentialsException", text)
    if request.method != endpoint.method:
        raise not_found("This service does not support that request!")
    return Call(caller, client, arguments, request.headers.get("Range", ""))


def _access_of(client: ClientState, key: str) -> Access:
    try:
        access = client.access_of_key.get(bytes.fromhex(key).hex())
    except ValueError:
        raise bad_request("Problem parsing Hydrus-Client-API-Access-Key!") from None
    if access is None:
        text = "Did not find an entry for that access key!"
        raise Refusal(403, "InsufficientCredentialsException", text)
    return access


@_endpoint("GET", "/api_version", needs_key=False)
def _api_version(_call: Call) -> dict[str, Any]:
    return {}


@_endpoint("GET", "/request_new_permissions", needs_key=False)
def _request_new_permissions(call: Call) -> dict[str, Any]:
    if not call.client.dialog_is_open:
        text = (
            "The permission registration dialog is not open. "
            'Please open it under "review services" in the hydrus client.'
        )
        raise Refusal(409, "ConflictException", text)
    name = required(call.arguments, "name")
    permissions = frozenset(call.arguments.get("basic_permissions", []))
    if call.arguments.get("permits_everything"):
        permissions = state.EVERY_PERMISSION
    key = secrets.token_hex(32)
    call.client.requested_access = key, Access(name, permissions)
    return {"access_key": key}


@_endpoint("GET", "/verify_access_key")
def _verify_access_key(call: Call) -> dict[str, Any]:
    name, permissions = call.caller.name, call.caller.permissions
    everything = permissions == state.EVERY_PERMISSION
    can_do = "can do anything"
    if not everything:
        texts = [text for number, text in _PERMISSION_TEXTS.items() if number in permissions]
        can_do = f"{', '.join(texts)}: Can search: allowing all tags"
    return {
        "name": name,
        "permits_everything": everything,
        "basic_permissions": sorted(permissions),
        "human_description": f"API Permissions ({name}): {can_do}",
    }


@_endpoint("GET", "/get_services", state.SEARCH)
def _get_services(_call: Call) -> dict[str, Any]:
    return services.all_services()


@_endpoint("GET", "/get_files/search_files", state.SEARCH)
def _search_files(call: Call) -> dict[str, Any]:
    domain = call.domain()
    tags = call.arguments.get("tags", [])
    if not tags:
        return {"file_ids": []}
    matches, visible = api.all_of(tags), call.client.visible_in(domain)
    files = call.client.files.values()  # in the order of their ids
    hashes = [file.hash for file in files if visible(file.hash) and matches(file)]
    ids = [call.client.ids[each] for each in hashes]
    call.client.last_search_of[call.caller.name] = frozenset(ids)
    content: dict[str, Any] = {}
    if call.arguments.get("return_hashes", False):
        content["hashes"] = hashes
    if call.arguments.get("return_file_ids", True):
        content["file_ids"] = ids
    return content


@_endpoint("GET", "/get_files/file_metadata", state.SEARCH)
def _file_metadata(call: Call) -> dict[str, Any]:
    only_identifiers = call.arguments.get("only_return_identifiers", False)
    if not only_identifiers and not call.arguments.get("only_return_basic_information"):
        raise Refusal(501, "NotImplementedError", "The stand-in has no full metadata.")
    hashes = call.hashes()
    call.check_ids([call.client.ids[each] for each in hashes if each in call.client.ids])
    rows = []
    for each in hashes:
        file = None if only_identifiers else call.client.files.get(each)
        basic = {} if file is None else _basic_information(file)
        rows.append({"file_id": call.client.ids.get(each), "hash": each, **basic})
    return {"metadata": rows}


def _basic_information(file: HydrusFile) -> dict[str, Any]:
    human, number = services.FILETYPES.get(file.mime, services.UNKNOWN_FILETYPE)
    return {
        "size": file.size,
        "mime": file.mime,
        "filetype_human": human,
        "filetype_enum": number,
        "ext": file.ext,
        "width": file.width,
        "height": file.height,
        "duration": file.duration_ms,
        "num_frames": file.num_frames,
        "num_words": None,
        "has_audio": file.has_audio,
        "filetype_forced": False,
    }


@_endpoint("GET", "/get_files/thumbnail", state.SEARCH)
def _thumbnail(call: Call) -> Reply:
    file = call.file()
    if file is None:
        return _binary(services.unknown_file_icon(), "image/png", "hydrus.png")
    if call.client.is_deleted(file.hash):
        return _binary(services.video_icon(), "image/png", "video.png")
    mime = "image/png" if file.thumbnail.startswith(b"\x89PNG") else "image/jpeg"
    return _binary(file.thumbnail, mime, f"{file.hash}.thumbnail")


@_endpoint("GET", "/get_files/file", state.SEARCH)
def _file(call: Call) -> Reply:
    file, path = call.stored_file()
    video = path.read_bytes()
    whole = _binary(video, file.mime, f"{file.hash}{file.ext}")
    wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", call.range_header)
    # Hydrus sends the whole file if the range starts past its end.
    if wanted is None or int(wanted[1]) > len(video):
        return whole
    start = int(wanted[1])
    part = video[start : int(wanted[2]) + 1]
    content_range = f"bytes {start}-{start + len(part) - 1}/{len(video)}"
    headers = {**whole.headers, "Accept-Ranges": "bytes", "Content-Range": content_range}
    return replace(whole, status=206, body=part, headers=headers)


def _binary(body: bytes, mime: str, name: str) -> Reply:
    disposition = f'inline; filename="{name}"'
    headers = {"Cache-Control": "max-age=31536000", "Content-Disposition": disposition}
    return Reply(200, body, mime, headers)


@_endpoint("GET", "/get_files/file_path", state.LOCAL_PATHS)
def _file_path(call: Call) -> dict[str, Any]:
    file, path = call.stored_file()
    return {"path": str(path.absolute()), "filetype": file.mime, "size": file.size}


@_endpoint("POST", "/add_files/delete_files", state.ADD_FILES)
def _delete_files(call: Call) -> Reply:
    for file_hash in call.hashes():
        call.client.trash(file_hash)
    return Reply()


@_endpoint("GET", "/manage_file_relationships/get_file_relationships", state.RELATIONSHIPS)
def _get_file_relationships(call: Call) -> dict[str, Any]:
    domain = call.domain()
    rows = {each: _relationships(call.client, each, domain) for each in call.hashes()}
    return {"file_relationships": rows}


def _relationships(client: ClientState, file_hash: str, domain: str) -> dict[str, Any]:
    visible = client.visible_in(domain)
    relationships = client.relationships.relationships_of(file_hash, visible)

    def by_id(hashes: frozenset[str]) -> list[str]:
        return sorted(hashes, key=lambda each: (client.ids.get(each) or 0, each))

    return {
        "is_king": relationships.king == file_hash,
        "king": relationships.king,
        # In v681 these two describe the file, not its king, despite their names.
        "king_is_on_file_domain": visible(file_hash),
        "king_is_local": client.visible_in(services.LOCAL_STORAGE)(file_hash),
        "0": by_id(relationships.potential),
        "8": by_id(relationships.duplicate),
        "1": by_id(relationships.false_positive),
        "3": by_id(relationships.alternate),
    }


@_endpoint("POST", "/manage_file_relationships/set_file_relationships", state.RELATIONSHIPS)
def _set_file_relationships(call: Call) -> Reply:
    # Parse all rows first: Hydrus writes nothing if one is bad.
    rows = [_relationship_row(row) for row in call.arguments.get("relationships", [])]
    for a, b, relationship in rows:
        if relationship is Relationship.POTENTIAL:
            call.client.posted_rows.append((a, b))
        call.client.relationships.set_relationship(a, b, relationship)
    return Reply()


def _relationship_row(row: dict[str, Any]) -> tuple[str, str, Relationship]:
    names = ("relationship", "hash_a", "hash_b", "do_default_content_merge")
    number, a, b, _merge = (required(row, name) for name in names)
    allowed = {int(each) for each in Relationship}
    if number not in allowed:
        raise bad_request(
            f'The parameter "relationship", with value "{number}", '
            f"was not in the allowed values: {allowed}!"
        )
    try:
        hashes = [bytes.fromhex(a).hex(), bytes.fromhex(b).hex()]
    except ValueError:
        raise bad_request(f"Sorry, did not understand one of the hashes {a} or {b}!") from None
    api.check_hash_lengths(hashes)
    return hashes[0], hashes[1], Relationship(number)


@_endpoint("POST", "/manage_popups/add_popup", state.POPUPS)
def _add_popup(call: Call) -> dict[str, Any]:
    names = ("status_title", "status_text_1", "status_text_2")
    text = "\n".join(call.arguments[name] for name in names if name in call.arguments)
    call.client.popups.append(text)
    return {"job_status": {"key": secrets.token_hex(32), "nice_string": text}}
