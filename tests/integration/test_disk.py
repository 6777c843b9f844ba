"""The disk under the index: full, read-only, without locks. Errors are clear; no data is lost."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Home, assert_all_posted_once, rows

from hydindex.standin.server import StandIn
from hydindex.store.lock import exclusive

# Runs a command that can grow no file beyond some bytes, as on a full disk.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from hydindex.__main__ import run
sys.argv[1:] = sys.argv[2:]
run()
"""


def size_of_finished_index(home: Home) -> int:
    """Build the index once to measure it, and delete it."""
    home.update("--dry-run")
    size = home.index.stat().st_size
    home.index.unlink()
    return size


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on file sizes here")
@pytest.mark.parametrize("share", [0.003, 0.3, 0.8])
def test_a_run_that_cannot_write_any_more_ends_and_the_next_one_continues(
    home: Home, client: StandIn, share: float
) -> None:
    limit = int(size_of_finished_index(home) * share)
    words = [str(limit), "update", "--json", "--config", str(home.config)]
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 4, ended
    assert '"index_unusable"' in ended.stdout
    assert "Traceback" not in ended.stderr

    home.update()
    home.assert_sound()
    assert_all_posted_once(client)


class SmallDisk:
    """A file system that a file fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def leave_free(self, size_bytes: int) -> None:
        self.empty()
        self._ballast.write_bytes(bytes(shutil.disk_usage(self.folder).free - size_bytes))

    def empty(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def small_disk(home: Home, tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of four megabytes, with the index on it."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=4m", "hydindex-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("mounting a file system is not permitted")
    home.index = folder / "hydindex.db"
    home.configure(index={"path": str(home.index)})
    yield SmallDisk(folder)
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_reported_and_nothing_is_lost(
    home: Home, client: StandIn, small_disk: SmallDisk
) -> None:
    size = size_of_finished_index(home)
    small_disk.leave_free(size // 2)
    assert "disk" in home.fail("update", expect=4, kind="index_unusable")
    small_disk.empty()
    home.update()

    small_disk.leave_free(size // 2)
    home.configure(decision={"min_probability": 0.9})
    assert "back up the index before the rebuild" in home.fail("rebuild", expect=4)
    assert not list(small_disk.folder.glob("*.bak"))
    small_disk.empty()
    home.rebuild()
    home.update()
    home.assert_sound()
    assert_all_posted_once(client)


@pytest.mark.parametrize(("share", "exit_code"), [(0.1, 4), (0.6, 4), (1.1, 4), (3.0, 0)])
def test_a_repair_on_a_full_disk_finishes_or_changes_nothing(
    home: Home, small_disk: SmallDisk, posted: StandIn, share: float, exit_code: int
) -> None:
    before, sent = home.pairs("posted"), rows(posted)
    assert before
    ((root,),) = home.sql("SELECT rootpage FROM sqlite_master WHERE name = 'ix_file_compared'")
    with home.index.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))
    damaged = home.index.read_bytes()
    small_disk.leave_free(int(len(damaged) * share))

    assert home.run("repair").exit_code == exit_code
    if exit_code == 4:
        assert home.index.read_bytes() == damaged
        assert not list(small_disk.folder.glob("*.repairing*"))
        small_disk.empty()
        assert home.run("repair").exit_code == 0
    home.assert_sound()
    assert home.pairs("posted") == before
    small_disk.empty()
    home.update()
    assert rows(posted) == sent


@pytest.mark.skipif(os.name != "posix", reason="folders have no such mode here")
def test_a_read_only_folder_is_reported(home: Home, client: StandIn) -> None:
    home.update("--dry-run")
    home.folder.chmod(0o500)
    outcome = home.run_unprivileged("update", "--json")
    home.folder.chmod(0o700)
    assert outcome.exit_code == 4
    assert outcome.json["error"]["kind"] == "index_unusable"
    home.update()
    assert_all_posted_once(client)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_without_locks_is_reported(
    home: Home, client: StandIn, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    error = home.fail("update", expect=4)
    assert "does not support locks" in error
    assert "index.path" in error
    assert not home.index.exists()
    assert client.requests == []


@pytest.mark.usefixtures("posted")
def test_the_last_three_backups_are_kept_and_all_of_the_user(home: Home) -> None:
    own = home.folder / "hydindex.db.before-i-tried-something.bak"
    shutil.copy(home.index, own)
    made = [own.name]
    for number in range(5):
        home.configure(decision={"min_probability": 0.5 + number / 10})
        home.rebuild()
        home.rebuild()  # has nothing to do, and makes no backup
        (newest,) = {each.name for each in home.folder.glob("*.bak")} - set(made)
        # Their names differ by the second: give each one its own.
        made.append(f"hydindex.db.2026010{number}T000000Z.before-rebuild.bak")
        (home.folder / newest).rename(home.folder / made[-1])
    assert sorted(each.name for each in home.folder.glob("*.bak")) == [*made[-3:], own.name]


@pytest.mark.usefixtures("posted")
def test_an_index_has_one_lock_under_all_its_names(home: Home) -> None:
    alias = home.folder / "alias.db"
    try:
        alias.symlink_to(home.index)
    except OSError:
        pytest.skip("no symbolic links here")
    home.configure(index={"path": str(alias)})
    with exclusive(home.index, "update"):
        error = home.fail("update", expect=4, kind="index_locked")
    assert f"process {os.getpid()}, since 20" in error
