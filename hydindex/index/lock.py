"""One writer at a time: a lock file beside the index, which the system frees when a run dies."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hydindex.errors import IndexLocked, IndexUnusable


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the index at `path` for writing.

    Raises:
        IndexLocked: another run holds it; who, the caller can read from the index's runs.
        IndexUnusable: no lock file can be made there.
    """
    if not path.parent.is_dir():  # a drive that is not mounted must not become a new index
        raise IndexUnusable(
            f"The folder {path.parent} of the index does not exist",
            "Make the folder, or mend index.path in the config.",
        )
    lock = FileLock(f"{path}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise IndexLocked(
            f"Another run of hydindex holds the index {path}",
            "Wait until it has ended, then run the command again.",
        ) from None
    except OSError as error:
        raise IndexUnusable(
            f"The index {path} cannot be locked: {error}",
            "May you write to the folder?",
        ) from None
    try:
        yield
    finally:
        lock.release()
