"""The time as the index writes it: UTC, to the second, in ISO 8601, so that text sorts by time."""

from datetime import UTC, datetime, timedelta
from typing import Final

NEVER: Final = ""
"""Earlier than any time."""


def now() -> str:
    """For example 2026-11-22T02:00:00+00:00."""
    return _iso(datetime.now(UTC))


def ago(span: timedelta) -> str:
    """The time a while ago, written like `now`."""
    return _iso(datetime.now(UTC) - span)


def days_since(time: str) -> float:
    """How many days have passed since a time that is written like `now`."""
    return (datetime.now(UTC) - datetime.fromisoformat(time)) / timedelta(days=1)


def file_timestamp() -> str:
    """The time as part of a file's name, for example 20261122T020000Z."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
