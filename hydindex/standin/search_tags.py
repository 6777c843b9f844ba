"""The part of Hydrus's search that a demo needs: tags, OR groups, a few system predicates."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from hydindex.standin.library_files import HydrusFile
from hydindex.standin.replies import bad_request

Predicate = Callable[[HydrusFile], bool]

_FIXED: dict[str, Predicate] = {
    "system:everything": lambda _file: True,
    "system:has duration": lambda file: bool(file.duration_ms),
    # Hydrus counts animated GIFs as animations, neither as videos nor as images.
    "system:filetype is video": lambda file: file.mime.startswith("video/"),
    "system:filetype is image": lambda file: (
        file.mime.startswith("image/") and not file.duration_ms
    ),
    "system:filetype is webm": lambda file: file.mime == "video/webm",
}
_HASH_IS = re.compile(r"system:hash is ([0-9a-f]{64})")
_DURATION_BELOW = re.compile(r"system:duration < (\d+(?:\.\d+)?) seconds?")


def all_of(tags: Sequence[Any]) -> Predicate:
    """Read a list of tags, all of which a file has to match; a list in it is an OR group.

    Raises:
        Refusal: 400, quoting a system predicate that is not understood.

    """
    predicates = [_any_of(tag) if isinstance(tag, list) else _one(str(tag)) for tag in tags]
    return lambda file: all(predicate(file) for predicate in predicates)


def _any_of(tags: Sequence[Any]) -> Predicate:
    predicates = [_one(str(tag)) for tag in tags]
    return lambda file: any(predicate(file) for predicate in predicates)


def _one(tag: str) -> Predicate:
    text = tag.strip().lower()
    if text.startswith("system:"):
        return _system(text, tag)
    if text.startswith("-"):
        return lambda file: text[1:] not in file.tags
    return lambda file: text in file.tags


def _system(text: str, original: str) -> Predicate:
    if text in _FIXED:
        return _FIXED[text]
    if match := _HASH_IS.fullmatch(text):
        wanted = match[1]
        return lambda file: file.hash == wanted
    if match := _DURATION_BELOW.fullmatch(text):
        limit_ms = float(match[1]) * 1000
        return lambda file: file.duration_ms is not None and file.duration_ms < limit_ms
    raise bad_request(f'Could not parse system predicate "{original}"!')
