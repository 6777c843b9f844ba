"""The disk under the index: full, read-only, without locks. Clear errors, nothing half-written."""

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Home, rows

from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn
from hydindex.store.lock import exclusive

Serve = Callable[..., StandIn]

# Runs a command that may not write more than so many bytes into any one file.
LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then writing fails, as on a full disk
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from hydindex.__main__ import run
sys.argv[1:] = sys.argv[2:]
run()
"""


def assert_sound(home: Home) -> None:
    assert home.sql("PRAGMA integrity_check") == [("ok",)]
    assert home.sql("PRAGMA foreign_key_check") == []


def assert_all_posted_once(client: StandIn) -> None:
    sent = rows(client)
    assert len(sent) == len(set(sent)) == len(client.potentials) > 0


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limits of this kind here")
@pytest.mark.parametrize("kilobytes", [1, 40, 100, 200, 300])
def test_where_nothing_more_can_be_written_the_run_ends_and_the_next_goes_on(
    home: Home, serve: Serve, library: list[HydrusFile], kilobytes: int
) -> None:
    client = serve(library)
    words = [str(kilobytes << 10), "update", "--json", "--config", str(home.config)]
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
    assert_sound(home)
    assert_all_posted_once(client)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=1m", "hydindex-test", str(folder)]
    if shutil.which("mount") is None or subprocess.run(words, capture_output=True).returncode != 0:
        pytest.skip("only who may mount a file system can make a full one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_named_and_nothing_is_lost(
    home: Home, serve: Serve, library: list[HydrusFile], small_disk: Path
) -> None:
    client = serve(library)
    home.index = small_disk / "hydindex.db"
    home.configure(index={"path": str(home.index)})
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(700_000))
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 4
    assert outcome.json["error"]["kind"] == "index_unusable"
    assert "disk" in outcome.json["error"]["remedy"]

    ballast.unlink()
    home.update()
    assert_sound(home)
    assert_all_posted_once(client)

    ballast.write_bytes(bytes(shutil.disk_usage(small_disk).free - 100_000))
    home.configure(preprocessing={"preBlurSigma": 0.9})
    outcome = home.run("rebuild", "--json")
    assert outcome.exit_code == 4
    assert "copied before the rebuild" in outcome.json["error"]["message"]
    assert not list(small_disk.glob("*.bak"))
    home.configure(preprocessing={"preBlurSigma": 0.6})
    home.update()
    assert_all_posted_once(client)


@pytest.mark.skipif(os.name != "posix", reason="the modes of folders count there only")
def test_a_folder_that_may_only_be_read_is_named(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.update("--dry-run")
    home.folder.chmod(0o500)
    outcome = home.run_unprivileged("update", "--json")
    home.folder.chmod(0o700)
    assert outcome.exit_code == 4
    assert outcome.json["error"]["kind"] == "index_unusable"
    home.update()
    assert_all_posted_once(client)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_folder_without_locks_is_named(
    home: Home, serve: Serve, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    fcntl = pytest.importorskip("fcntl")
    client = serve([])

    def flock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 4
    assert "does not support locks" in outcome.json["error"]["message"]
    assert "index.path" in outcome.json["error"]["remedy"]
    assert not home.index.exists()
    assert client.requests == []


def test_the_last_three_copies_are_kept_and_all_that_the_user_made(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update()
    own = home.folder / "hydindex.db.before-i-tried-something.bak"
    shutil.copy(home.index, own)
    made = [own.name]
    for number in range(5):
        home.configure(preprocessing={"preBlurSigma": number / 10})
        home.rebuild()
        home.rebuild()  # which has nothing to do, and copies nothing
        (newest,) = {each.name for each in home.folder.glob("*.bak")} - set(made)
        # They are named by the second: give each one a name of its own.
        made.append(f"hydindex.db.2026010{number}T000000Z.before-rebuild.bak")
        (home.folder / newest).rename(home.folder / made[-1])
    assert sorted(each.name for each in home.folder.glob("*.bak")) == [*made[-3:], own.name]


@pytest.mark.parametrize("free_kilobytes", [50, 150, 250, 400, 550])
def test_a_repair_on_a_full_disk_is_done_or_leaves_all_as_it_was(
    home: Home,
    serve: Serve,
    library: list[HydrusFile],
    small_disk: Path,
    free_kilobytes: int,
) -> None:
    client = serve(library)
    home.index = small_disk / "hydindex.db"
    home.configure(index={"path": str(home.index)})
    home.update()
    told, sent = home.pairs("posted"), rows(client)
    (root,) = home.sql("SELECT rootpage FROM sqlite_master WHERE name = 'ix_file_compared'")[0]
    with home.index.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))
    before = home.index.read_bytes()
    (small_disk / "ballast").write_bytes(
        bytes(max(0, shutil.disk_usage(small_disk).free - (free_kilobytes << 10)))
    )

    outcome = home.run("repair", "--json")
    assert outcome.exit_code in (0, 4)
    if outcome.exit_code == 4:
        assert home.index.read_bytes() == before
        assert not list(small_disk.glob("*.repairing*"))
        (small_disk / "ballast").unlink()
        assert home.run("repair").exit_code == 0
    assert_sound(home)
    assert home.pairs("posted") == told
    (small_disk / "ballast").unlink(missing_ok=True)
    home.update()
    assert rows(client) == sent


def test_one_index_has_one_lock_whatever_it_is_called(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    home.update()
    alias = home.folder / "alias.db"
    try:
        alias.symlink_to(home.index)
    except OSError:
        pytest.skip("no links here")
    home.configure(index={"path": str(alias)})
    with exclusive(home.index, "update"):
        outcome = home.run("update", "--json")
    assert outcome.exit_code == 4
    assert outcome.json["error"]["kind"] == "index_locked"
    assert f"process {os.getpid()}, since 20" in outcome.json["error"]["message"]
