"""Work through many items in batches of bounded size."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")


def slices(count: int, size: int) -> Iterator[slice]:
    """Divide `count` items into slices of at most `size`."""
    return (slice(start, start + size) for start in range(0, count, size))


def batched(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Divide a sequence into batches of at most `size`."""
    return (items[part] for part in slices(len(items), size))
