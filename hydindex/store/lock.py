"""One writer at a time: a lock file beside the index, released by the system if a run dies."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from filelock import BaseFileLock, FileLock, Timeout

from hydindex.common import clock
from hydindex.common.errors import IndexLocked, IndexUnusable

_LOCKS_UNSUPPORTED: Final = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


@contextmanager
def exclusive(path: Path, command: str) -> Iterator[bool]:
    """Lock the index for writing. Yields whether its last holder ended cleanly.

    A mark beside the index names the holder, and is removed at a clean end. A mark without a holder
    means that a process or the machine crashed, or that SQLite found an error in the file. The
    next holder keeps the mark unless it ends cleanly.

    Raises:
        IndexLocked: another process holds the lock.
        IndexUnusable: the folder doesn't support locks.
    """
    require_folder(path)
    lock, mark = _lock(path), _mark(path)
    try:
        lock.acquire(timeout=0)
        ended_cleanly = not mark.exists()
        _write(mark, f"{command}, process {os.getpid()}, since {clock.now()}")
    except Timeout:
        raise IndexLocked(
            f"Another run of hydindex is using the index {path}: {_read(mark)}",
            "Wait until it ends, then run the command again.",
        ) from None
    except OSError as error:
        lock.release()
        raise _not_lockable(path, error) from None

    keep_mark = False
    try:
        yield ended_cleanly
    except BaseException as error:
        keep_mark = not ended_cleanly or isinstance(error, IndexUnusable)
        raise
    finally:
        if not keep_mark:
            mark.unlink(missing_ok=True)
        lock.release()


def require_folder(path: Path) -> None:
    """Check that the folder of an index exists.

    Raises:
        IndexUnusable: it doesn't.
    """
    if not path.parent.is_dir():  # an unmounted drive must not get a new index
        raise IndexUnusable(
            f"The folder {path.parent} of the index does not exist",
            "Create the folder, or fix index.path in the config.",
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """The run that holds an index, or the last one if it didn't end cleanly."""

    name: str
    is_running: bool


def holder(path: Path) -> Holder | None:
    """Return who holds an index, without locking it.

    Raises:
        IndexUnusable: the folder doesn't support locks.
    """
    mark = _mark(path)
    # Without a mark nobody holds it. Trying the lock anyway could make a run that starts at this
    # moment fail.
    if not mark.exists():
        return None
    name = _read(mark)
    try:
        with _lock(path).acquire(timeout=0):
            return Holder(name, is_running=False)
    except Timeout:
        return Holder(name, is_running=True)
    except OSError as error:
        raise _not_lockable(path, error) from None


def _lock(path: Path) -> BaseFileLock:
    # Where locks aren't supported, filelock would fall back to a file that a killed process leaves
    # behind forever.
    return FileLock(f"{path}.lock", fallback_to_soft=False)


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _write(mark: Path, holder_name: str) -> None:
    with mark.open("w", encoding="utf-8") as file:
        file.write(holder_name)
        file.flush()
        os.fsync(file.fileno())  # it must survive a power cut


def _read(mark: Path) -> str:
    try:
        return mark.read_text(encoding="utf-8")
    except OSError:  # the holder has just started or ended
        return "unknown"


def _not_lockable(path: Path, error: OSError) -> IndexUnusable:
    if error.errno in _LOCKS_UNSUPPORTED:
        return IndexUnusable(
            f"The folder {path.parent} of the index does not support locks: {error.strerror}",
            "Set index.path to a file on a local disk; network folders often lack locks.",
        )
    return IndexUnusable(
        f"The index {path} cannot be locked: {error}",
        "Check that the folder is writable and the disk has free space.",
    )
