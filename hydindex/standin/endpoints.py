"""What each path of the Client API does: a `Call` in, a JSON object or another reply out."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydindex.standin import descriptions, placeholders, services
from hydindex.standin.access import (
    ADD_FILES,
    EVERY_PERMISSION,
    LOCAL_PATHS,
    POPUPS,
    RELATIONSHIPS,
    SEARCH,
    Access,
)
from hydindex.standin.arguments import field_of
from hydindex.standin.client_state import ClientState
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.relationships import Relationship
from hydindex.standin.replies import Refusal, Reply, bad_request, not_found
from hydindex.standin.search_tags import all_of

_HASH_BYTES = 32


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be carried out: by whom, on which client, with which arguments.

    `part` is which of a file's bytes are wanted, if not all.
    """

    caller: Access
    state: ClientState
    arguments: Mapping[str, Any]
    part: slice | None = None

    def domain(self) -> str:
        """Read which file domain is meant; the default one leaves the trash out."""
        key = self.arguments.get("file_service_key")
        return services.LOCAL_MEDIA if key is None else services.check_file_domain(key)

    def hashes(self) -> list[str]:
        """Read which files are meant: each once, in the order in which they are named.

        Raises:
            Refusal: 400 where none is named or a hash is too long or short, 404 for a `file_id`
                that nothing stands behind.

        """
        if not {"hash", "hashes", "file_id", "file_ids"} & self.arguments.keys():
            raise bad_request("Please include some files in your request--file_id or hash based!")
        hashes = self._named("hash", "hashes")
        file_ids = self._named("file_id", "file_ids")
        if novel := [each for each in file_ids if self.state.hash_of(each) is None]:
            raise not_found(
                "It seems you gave a file_id that does not exist! "
                f"Was asked about these novel hash_ids: {novel}"
            )
        hashes += [self.state.hash_of(file_id) for file_id in file_ids]
        _check_hash_lengths(hashes)
        return list(dict.fromkeys(hashes))

    def file(self) -> HydrusFile | None:
        """Read which one file is meant; None where the client does not know it.

        Raises:
            Refusal: 400 where none is named.

        """
        if "file_id" in self.arguments:
            file_hash = self.state.hash_of(self.arguments["file_id"])
        elif "hash" in self.arguments:
            file_hash = self.arguments["hash"]
        else:
            raise bad_request("Please include a file_id or hash parameter!")
        return None if file_hash is None else self.state.file_of(file_hash)

    def _named(self, one: str, many: str) -> list[Any]:
        first = [self.arguments[one]] if one in self.arguments else []
        return [*first, *self.arguments.get(many, [])]


def _check_hash_lengths(hashes: list[str]) -> None:
    if not hashes:
        raise bad_request("Sorry, I was expecting at least 1 sha256 hash, but none were given!")
    for each in hashes:
        if len(each) != 2 * _HASH_BYTES:
            raise bad_request(
                "Sorry, one of the given hashes was the wrong length! sha256 hashes should be "
                f"{_HASH_BYTES} bytes long, but {each} is {len(each) // 2} bytes long!"
            )


def _api_version(_call: Call) -> dict[str, Any]:
    return {}


def _request_new_permissions(call: Call) -> dict[str, Any]:
    call.state.access_keys.check_dialog()
    name = field_of(call.arguments, "name", str)
    everything = call.arguments.get("permits_everything", False)
    permissions = EVERY_PERMISSION if everything else call.arguments.get("basic_permissions", [])
    return {"access_key": call.state.access_keys.request(Access(name, frozenset(permissions)))}


def _verify_access_key(call: Call) -> dict[str, Any]:
    return call.caller.described()


def _get_services(_call: Call) -> dict[str, Any]:
    return services.SERVICES


def _search_files(call: Call) -> dict[str, Any]:
    domain = call.domain()
    tags = call.arguments.get("tags", [])
    if not tags:
        return {"file_ids": []}
    found = call.state.search(all_of(tags), domain)
    content: dict[str, Any] = {}
    if call.arguments.get("return_hashes", False):
        content["hashes"] = [file.hash for file in found]
    if call.arguments.get("return_file_ids", True):
        content["file_ids"] = [call.state.file_id_of(file.hash) for file in found]
    return content


def _file_metadata(call: Call) -> dict[str, Any]:
    hashes = call.hashes()
    if call.arguments.get("only_return_identifiers", False):
        describe = descriptions.identifiers
    elif call.arguments.get("only_return_basic_information", False):
        describe = descriptions.basic_information
    else:
        raise Refusal(501, "NotImplementedError", "The stand-in has no full metadata.")
    content: dict[str, Any] = {"metadata": [describe(call.state, each) for each in hashes]}
    if call.arguments.get("include_services_object", True):
        content["services_v2"] = services.SERVICES["services_v2"]
    return content


def _thumbnail(call: Call) -> Reply:
    file = call.file()
    if file is None:
        return _picture(placeholders.unknown_file(), "hydrus.png")
    if call.state.is_deleted(file.hash):
        return _picture(placeholders.deleted_video(), "video.png")
    return _picture(file.thumbnail, f"{file.hash}.thumbnail")


def _picture(content: bytes, name: str) -> Reply:
    return Reply(
        body=content,
        content_type="image/png" if content.startswith(b"\x89PNG") else "image/jpeg",
        headers={
            "Cache-Control": "max-age=31536000",
            "Content-Disposition": f'inline; filename="{name}"',
        },
    )


def _file(call: Call) -> Reply:
    file, path = _stored_file(call)
    video = path.read_bytes()
    headers = {
        "Cache-Control": "max-age=31536000",
        "Content-Disposition": f'inline; filename="{file.hash}{file.ext}"',
    }
    # What begins past the end is no part: Hydrus then gives all of it.
    if call.part is None or call.part.start > len(video):
        return Reply(body=video, content_type=file.mime, headers=headers)
    part = video[call.part.start : call.part.stop]
    last = call.part.start + len(part) - 1
    headers["Accept-Ranges"] = "bytes"
    headers["Content-Range"] = f"bytes {call.part.start}-{last}/{len(video)}"
    return Reply(status=206, body=part, content_type=file.mime, headers=headers)


def _file_path(call: Call) -> dict[str, Any]:
    file, path = _stored_file(call)
    return {"path": str(path.absolute()), "filetype": file.mime, "size": file.size}


def _stored_file(call: Call) -> tuple[HydrusFile, Path]:
    """Find a file that is there for others to read, and where it lies."""
    file = call.file()
    if file is None or call.state.is_deleted(file.hash):
        raise Refusal(404, "FileMissingException", "The client does not have this file!")
    if file.video is None or not file.video.exists():
        raise not_found("That file seems to be missing!")
    return file, file.video


def _get_file_relationships(call: Call) -> dict[str, Any]:
    domain = call.domain()
    rows = {
        each: descriptions.file_relationships(call.state, each, domain) for each in call.hashes()
    }
    return {"file_relationships": rows}


def _set_file_relationships(call: Call) -> Reply:
    # Every row is read before the first is written: a bad one spoils them all.
    rows = [_relationship_row(row) for row in call.arguments.get("relationships", [])]
    for a, b, relationship in rows:
        call.state.set_relationship(a, b, relationship)
    return Reply()


def _relationship_row(row: dict[str, Any]) -> tuple[str, str, Relationship]:
    number = field_of(row, "relationship", int)
    a, b = field_of(row, "hash_a", str), field_of(row, "hash_b", str)
    field_of(row, "do_default_content_merge", bool)
    if number not in set(Relationship):
        allowed = {int(each) for each in Relationship}
        raise bad_request(
            f'The parameter "relationship", with value "{number}", '
            f"was not in the allowed values: {allowed}!"
        )
    try:
        hashes = [bytes.fromhex(a).hex(), bytes.fromhex(b).hex()]
    except ValueError:
        raise bad_request(f"Sorry, did not understand one of the hashes {a} or {b}!") from None
    _check_hash_lengths(hashes)
    return hashes[0], hashes[1], Relationship(number)


def _add_popup(call: Call) -> dict[str, Any]:
    names = ("status_title", "status_text_1", "status_text_2")
    texts = {name: field_of(call.arguments, name, str) for name in names if name in call.arguments}
    said = "\n".join(texts.values())
    call.state.popups.append(said)
    job_status = {
        "key": secrets.token_hex(32),
        "creation_time": time.time(),
        **texts,
        "had_error": False,
        "is_cancellable": False,
        "is_cancelled": False,
        "is_done": True,
        "is_pausable": False,
        "is_paused": False,
        "nice_string": said,
    }
    return {"job_status": job_status}


def _delete_files(call: Call) -> Reply:
    for_good = call.domain() == services.LOCAL_STORAGE
    for file_hash in call.hashes():
        if for_good:
            call.state.delete(file_hash)
        else:
            call.state.trash(file_hash)
    return Reply()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How a path is served; `permission` is the one that a key needs, if any."""

    method: str
    run: Callable[[Call], dict[str, Any] | Reply]
    permission: int | None = None
    needs_key: bool = True


ENDPOINTS = {
    "/api_version": Endpoint("GET", _api_version, needs_key=False),
    "/request_new_permissions": Endpoint("GET", _request_new_permissions, needs_key=False),
    "/verify_access_key": Endpoint("GET", _verify_access_key),
    "/get_services": Endpoint("GET", _get_services, SEARCH),
    "/get_files/search_files": Endpoint("GET", _search_files, SEARCH),
    "/get_files/file_metadata": Endpoint("GET", _file_metadata, SEARCH),
    "/get_files/thumbnail": Endpoint("GET", _thumbnail, SEARCH),
    "/get_files/file": Endpoint("GET", _file, SEARCH),
    "/get_files/file_path": Endpoint("GET", _file_path, LOCAL_PATHS),
    "/manage_file_relationships/get_file_relationships": Endpoint(
        "GET", _get_file_relationships, RELATIONSHIPS
    ),
    "/manage_file_relationships/set_file_relationships": Endpoint(
        "POST", _set_file_relationships, RELATIONSHIPS
    ),
    "/add_files/delete_files": Endpoint("POST", _delete_files, ADD_FILES),
    "/manage_popups/add_popup": Endpoint("POST", _add_popup, POPUPS),
}
