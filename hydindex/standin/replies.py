"""What goes back to the one who asked: a reply, or a refusal that becomes one."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP reply, sent after `silence_s`; with an empty body it carries no content type.

    A `Content-Length` among the headers, right or wrong, takes the place of the true one.
    """

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    silence_s: float = 0.0


class Refusal(Exception):
    """Hydrus will not do what was asked; `kind` is the name of its exception."""

    def __init__(self, status: int, kind: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.kind = kind


def bad_request(text: str) -> Refusal:
    """The refusal of a request that Hydrus does not understand: 400."""
    return Refusal(400, "BadRequestException", text)


def not_found(text: str) -> Refusal:
    """The refusal of a request for something that Hydrus does not have: 404."""
    return Refusal(404, "NotFoundException", text)


@dataclass(frozen=True, slots=True)
class JsonReplies:
    """Makes JSON replies, every one of which carries the versions of API and client."""

    api_version: int
    hydrus_version: int

    def reply(self, content: Mapping[str, Any], status: int = 200) -> Reply:
        """Make a reply of a JSON object."""
        versions = {"version": self.api_version, "hydrus_version": self.hydrus_version}
        return Reply(
            status=status,
            body=json.dumps({**content, **versions}).encode(),
            content_type="application/json",
            headers={"Cache-Control": "max-age=4", "Content-Disposition": "inline"},
        )

    def refusal(self, refusal: Refusal) -> Reply:
        """Make the reply that tells of a refusal."""
        content = {
            "error": str(refusal),
            "exception_type": refusal.kind,
            "status_code": refusal.status,
        }
        return self.reply(content, refusal.status)


# A path that Hydrus does not serve never reaches its own code: its web server answers.
NO_SUCH_PAGE = Reply(
    status=404,
    body=(
        b"<!DOCTYPE html>\n<html><head><title>404 - No Such Resource</title></head><body>"
        b"<h1>No Such Resource</h1><p>Sorry. No luck finding that resource.</p></body></html>"
    ),
    content_type="text/html; charset=utf-8",
)
