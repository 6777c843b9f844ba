"""One writer at a time: a lock file beside the index, which the system frees when a run dies."""

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

_NO_LOCKS_HERE: Final = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP}


@contextmanager
def exclusive(path: Path, command: str) -> Iterator[bool]:
    """Hold the index at `path` for writing. Gives whether its last holder ended as it should.

    A mark beside it names the holder, and goes when the holder ends in good order. Where a mark is
    left that nobody holds, a process or the whole machine went down in mid-work, or SQLite had
    trouble with the file. The next holder leaves it as well, unless it gets through.

    Raises:
        IndexLocked: another process holds it.
        IndexUnusable: no lock can be had there.
    """
    require_folder(path)
    lock, mark = _lock(path), _mark(path)
    try:
        lock.acquire(timeout=0)
        ended_cleanly = not mark.exists()
        _name(mark, command)
    except Timeout:
        raise IndexLocked(
            f"Another run of hydindex holds the index {path}{_named(mark)}",
            "Wait until it has ended, then run the command again.",
        ) from None
    except OSError as error:
        lock.release()
        raise _no_lock(path, error) from None

    mark_stays = False
    try:
        yield ended_cleanly
    except BaseException as error:
        mark_stays = not ended_cleanly or isinstance(error, IndexUnusable)
        raise
    finally:
        if not mark_stays:
            mark.unlink(missing_ok=True)
        lock.release()


def require_folder(path: Path) -> None:
    """Make sure that the folder of an index is there.

    Raises:
        IndexUnusable: it is not.
    """
    if not path.parent.is_dir():  # a drive that is not mounted must not become a new index
        raise IndexUnusable(
            f"The folder {path.parent} of the index does not exist",
            "Make the folder, or mend index.path in the config.",
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds an index, or held it last and did not end in good order."""

    name: str
    is_running: bool


def holder(path: Path) -> Holder | None:
    """Look who holds the index at `path`, without holding it.

    Raises:
        IndexUnusable: no lock can be had there.
    """
    mark = _mark(path)
    # Without a mark nobody holds it. The lock is only tried where there is one: whoever begins in
    # the very same moment would find it held.
    if not mark.exists():
        return None
    name = _named(mark).removeprefix(": ")
    try:
        with _lock(path).acquire(timeout=0):
            return Holder(name, is_running=False)
    except Timeout:
        return Holder(name, is_running=True)
    except OSError as error:
        raise _no_lock(path, error) from None


def _lock(path: Path) -> BaseFileLock:
    # Where the folder knows no locks, filelock would make do with a file that a killed process
    # leaves behind for ever.
    return FileLock(f"{path}.lock", fallback_to_soft=False)


def _mark(path: Path) -> Path:
    return path.with_name(f"{path.name}.holder")


def _name(mark: Path, command: str) -> None:
    with mark.open("w", encoding="utf-8") as file:
        file.write(f"{command}, process {os.getpid()}, since {clock.now()}")
        file.flush()
        os.fsync(file.fileno())  # it must outlive a power cut


def _named(mark: Path) -> str:
    try:
        return f": {mark.read_text(encoding='utf-8')}"
    except OSError:  # it has only just begun, or has just ended
        return ""


def _no_lock(path: Path, error: OSError) -> IndexUnusable:
    if error.errno in _NO_LOCKS_HERE:
        return IndexUnusable(
            f"The folder {path.parent} of the index does not support locks: {error.strerror}",
            "A network folder? Put the index on a disk of this machine: index.path in the config.",
        )
    return IndexUnusable(
        f"The index {path} cannot be locked: {error}",
        "May you write to the folder, and is there room on the disk?",
    )
