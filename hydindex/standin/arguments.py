"""The arguments of a request, out of the query of a GET or the JSON body of a POST.

Hydrus parses by name: it knows of each parameter what it is, and drops those it does not know.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from hydindex.standin.replies import bad_request

_JSON_NAMES = (
    "basic_permissions",
    "file_ids",
    "include_services_object",
    "only_return_basic_information",
    "only_return_identifiers",
    "permits_everything",
    "return_file_ids",
    "return_hashes",
    "tags",
)


def _hex(text: str) -> str:
    return bytes.fromhex(text).hex()


def _hex_list(texts: list[str]) -> list[str]:
    return [_hex(text) for text in texts]


# Name -> how its text is read, and what Hydrus calls that.
_QUERY: dict[str, tuple[Callable[[str], Any], str]] = {
    "name": (str, "a percent-encoded string"),
    "file_id": (int, "an integer"),
    "hash": (_hex, "a hex string"),
    "file_service_key": (_hex, "a hex string"),
    "hashes": (lambda text: _hex_list(json.loads(text)), "a json-encoded hex strings"),
    **dict.fromkeys(_JSON_NAMES, (json.loads, "a json-encoded string")),
}


def parse_query(query: str) -> dict[str, Any]:
    """Read the query string of a GET; 400 for a value that is not what its name promises."""
    arguments = {}
    for name, text in parse_qsl(query):
        if name not in _QUERY:
            continue
        read, called = _QUERY[name]
        try:
            arguments[name] = read(text)
        except (ValueError, TypeError):
            raise bad_request(
                f"I was expecting to parse '{name}' as {called}, but it failed."
            ) from None
    return arguments


def parse_range(header: str | None) -> slice | None:
    """Read which bytes of a file are wanted, of the one kind that is asked for: `bytes=5-9`."""
    found = None if header is None else re.fullmatch(r"bytes=(\d+)-(\d+)", header)
    return None if found is None else slice(int(found[1]), int(found[2]) + 1)


def parse_body(content_type: str | None, body: bytes) -> dict[str, Any]:
    """Read the body of a POST, which has to be a JSON object; 400 where it is none.

    Hydrus takes a POST without a Content-Type for one without arguments.
    """
    if content_type is None:
        return {}
    if content_type.partition(";")[0] != "application/json":
        raise bad_request("Did not recognise Content-Type header!")
    try:
        arguments = json.loads(body)
    except json.JSONDecodeError as error:
        raise bad_request(f"Sorry, did not understand the JSON you gave me: {error}") from None
    if not isinstance(arguments, dict):
        raise bad_request("The given parameter did not seem to be a JSON Object!")
    for name, read in (("hash", _hex), ("file_service_key", _hex), ("hashes", _hex_list)):
        if name in arguments:
            try:
                arguments[name] = read(arguments[name])
            except (ValueError, TypeError):
                raise bad_request(f"I was expecting '{name}' to be hex, but it is not.") from None
    return arguments


def field_of(row: Mapping[str, Any], name: str, kind: type) -> Any:
    """Take a required field out of a JSON object; 400 where it lacks or is of another type."""
    value = row.get(name)
    if value is None:
        raise bad_request(f'The required parameter "{name}" was missing!')
    if not isinstance(value, kind):
        called = {int: "integer", str: "string", bool: "boolean", list: "list"}[kind]
        raise bad_request(
            f'The parameter "{name}", with value "{value}", was not the expected type: {called}!'
        )
    return value
