"""Timestamps as the index stores them: UTC, ISO 8601, to the second. Text order is time order."""

from datetime import UTC, datetime, timedelta
from typing import Final

NEVER: Final = ""
"""Sorts before every timestamp."""


def now() -> str:
    """Return the current time, for example 2026-11-22T02:00:00+00:00."""
    return ago(timedelta())


def ago(span: timedelta) -> str:
    """Return the time `span` before now, in the format of `now`."""
    return (datetime.now(UTC) - span).isoformat(timespec="seconds")


def days_since(time: str) -> float:
    """Return the days that have passed since a timestamp."""
    return (datetime.now(UTC) - datetime.fromisoformat(time)) / timedelta(days=1)


def file_timestamp() -> str:
    """Return the current time for use in a file name, for example 20261122T020000Z."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
