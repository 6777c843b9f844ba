"""Times as the index stores them: UTC, ISO 8601, to the second, so that text sorts by time."""

from datetime import UTC, datetime, timedelta
from typing import Final

NEVER: Final = ""
"""Earlier than any time."""


def now() -> str:
    """Return the time, for example 2026-11-22T02:00:00+00:00."""
    return _iso(datetime.now(UTC))


def ago(span: timedelta) -> str:
    """Return the time this long ago, written like `now`."""
    return _iso(datetime.now(UTC) - span)


def days_since(time: str) -> float:
    """Return the days since a time that is written like `now`."""
    return (datetime.now(UTC) - datetime.fromisoformat(time)) / timedelta(days=1)


def file_timestamp() -> str:
    """Return the time for a file name, for example 20261122T020000Z."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
