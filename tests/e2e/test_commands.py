"""The commands as a person or a timer runs them: in a process of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Home, count, fetched, rows

from hydindex import __version__
from hydindex.standin.server import StandIn
from hydindex.standin.state import HydrusFile

Serve = Callable[..., StandIn]


def hydindex(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hydindex", *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_help_and_version(tmp_path: Path) -> None:
    shown = hydindex("--help", cwd=tmp_path)
    assert shown.returncode == 0
    commands = "init check update rebuild stats pairs report calibrate schedule repair demo"
    for command in commands.split():
        assert command in shown.stdout
        own = hydindex(command, "--help", cwd=tmp_path)
        assert own.returncode == 0
        assert "Example: hydindex" in own.stdout
    assert hydindex("--version", cwd=tmp_path).stdout == f"hydindex {__version__}\n"


def test_the_config_of_the_working_folder_is_used_unless_another_is_named(
    home: Home, serve: Serve, library: list[HydrusFile], tmp_path_factory: pytest.TempPathFactory
) -> None:
    serve(library[:4])
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert hydindex("update", cwd=home.folder).returncode == 0
    assert hydindex("stats", "--config", str(home.config), cwd=elsewhere).returncode == 0
    assert hydindex("stats", cwd=elsewhere, HYDINDEX_CONFIG=str(home.config)).returncode == 0
    assert hydindex("stats", cwd=elsewhere).returncode == 2
    assert sorted(path.name for path in elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "exit_code", "kind"),
    [
        ({"api_key": "your-hydrus-api-key-here"}, 2, "config"),
        ({"api_key": "not hexadecimal"}, 3, "hydrus_access"),
        ({"api_key": "d" * 64}, 3, "hydrus_access"),
        ({"api_key": StandIn.SEARCH_ONLY_KEY}, 3, "hydrus_access"),
        ({"api_port": 9}, 3, "hydrus_unreachable"),
        ({"tags": ["system:filetype is vidio"]}, 2, "config"),
        ({"simularity_threshold": 0.5}, 2, "config"),
    ],
)
def test_errors_have_a_kind_a_code_and_a_remedy_and_no_traceback(
    home: Home,
    serve: Serve,
    library: list[HydrusFile],
    change: dict[str, object],
    exit_code: int,
    kind: str,
) -> None:
    serve(library[:2])
    home.configure(**change)
    ended = hydindex("update", "--json", cwd=home.folder)
    assert ended.returncode == exit_code
    result = json.loads(ended.stdout)
    assert result["command"] == "update"
    assert result["exit_code"] == exit_code
    assert result["error"]["kind"] == kind
    assert result["error"]["remedy"]
    assert result["error"]["message"] in ended.stderr
    assert "Traceback" not in ended.stderr
    assert StandIn.SEARCH_ONLY_KEY not in ended.stdout + ended.stderr


def test_a_missing_permission_is_named(home: Home, serve: Serve) -> None:
    serve([])
    home.configure(api_key=StandIn.SEARCH_ONLY_KEY)
    assert "edit file relationships" in home.run("update").err


def test_a_wrong_command_line_is_an_error_of_its_own(tmp_path: Path) -> None:
    ended = hydindex("update", "--jsn", "--json", cwd=tmp_path)
    assert ended.returncode == 2
    assert json.loads(ended.stdout)["error"]["kind"] == "config"
    assert hydindex("updat", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["report"], "--output"),
        (["import-posted"], "FILE"),
        (["schedule", "--at", "25:00"], "--at"),
        (["update", "--wait-for-client", "-1"], "--wait-for-client"),
        (["pairs", "--min-score", "2"], "--min-score"),
    ],
)
def test_what_is_wrong_on_a_command_line_is_named_as_it_is_typed(
    words: list[str], named: str, tmp_path: Path
) -> None:
    said = hydindex(*words, cwd=tmp_path).stderr
    assert said.startswith("hydindex: The command line is wrong: ")
    assert f"'{named}'" in said


def test_tracebacks_are_shown_with_v(home: Home) -> None:
    home.configure(api_key="c" * 64, api_port=9)
    assert "Traceback" in hydindex("update", "-v", cwd=home.folder).stderr


def test_nothing_but_the_result_on_stdout_and_no_bars_without_a_terminal(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    ended = hydindex("update", cwd=home.folder)
    assert ended.stdout.startswith("Files: 40 found")
    assert ended.stderr == ""
    assert hydindex("update", "-q", cwd=home.folder).stdout == ""


# What takes longest to import, and the packages that bring it along.
FOR_WORK = {"torch", "scipy", "skimage", "pytorch_msssim", "alembic", "distributed", "av"}
FOR_THE_CLIENT = {"requests", "PIL"}
FOR_THE_INDEX = {"numpy", "sqlalchemy"}


@pytest.mark.parametrize(
    ("words", "unneeded"),
    [
        (["update"], FOR_WORK),
        (["report", "--output", "report.html"], FOR_WORK),
        (["stats"], FOR_WORK | FOR_THE_CLIENT),
        (["pairs"], FOR_WORK | FOR_THE_CLIENT),
        (["update", "--help"], FOR_WORK | FOR_THE_CLIENT | FOR_THE_INDEX),
        (["--help"], FOR_WORK | FOR_THE_CLIENT | FOR_THE_INDEX | {"pydantic"}),
    ],
)
def test_a_command_loads_only_what_it_works_with(
    home: Home, serve: Serve, library: list[HydrusFile], words: list[str], unneeded: set[str]
) -> None:
    serve(library)
    home.update()
    script = (
        "import sys\nfrom hydindex.commands import app\n"
        f"try: app.main({words!r})\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        f"sys.exit(' '.join({unneeded!r} & sys.modules.keys()))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script], cwd=home.folder, stderr=subprocess.PIPE, check=False
    )
    assert ended.stderr.strip() == b""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a way to kill a process")
@pytest.mark.parametrize("table", ["file", "compared", "pair"])
def test_a_killed_run_goes_on_where_it_stopped(
    home: Home, serve: Serve, library: list[HydrusFile], table: str
) -> None:
    """Kill a first run as soon as it has fetched, compared or posted something."""
    client = serve(library)
    home.configure(
        network={"max_connections": 1},
        preprocessing={"fixedResize": [256, 256], "useMSSSIM": True},
        post={"batch_size": 1},
    )
    progress = {
        "file": "SELECT count(*) FROM file",
        "compared": "SELECT count(*) FROM file WHERE compared_since IS NOT NULL",
        "pair": "SELECT count(*) FROM pair WHERE state = 'posted'",
    }[table]
    with subprocess.Popen([sys.executable, "-m", "hydindex", "update"], cwd=home.folder) as run:
        while run.poll() is None and not _count(home, progress):
            time.sleep(0.005)
        run.kill()
    kept = _count(home, progress)
    assert kept > 0

    earlier = len(client.requests)
    result = home.update()
    assert len(client.potentials) == len(rows(client)) == len(set(rows(client))) > 0
    assert result["files"]["indexed"] == 40
    again = [request for request in client.requests[earlier:] if "file_id" in request.query]
    assert len(again) <= 40 - (kept if table == "file" else 40)
    assert home.sql("PRAGMA integrity_check") == [("ok",)]
    assert home.sql("PRAGMA foreign_key_check") == []


def _count(home: Home, query: str) -> int:
    if not home.index.exists():
        return 0
    try:
        return int(home.sql(query)[0][0])
    except Exception:  # the tables are being made just now
        return 0


def test_stats_show_what_the_index_holds(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    posted = home.update()["pairs"]["posted"]
    client.trash(library[0].hash)
    home.update()
    shown = json.loads(hydindex("stats", "--json", cwd=home.folder).stdout)
    assert shown["files"] == {"comparable": 39, "waiting": 0, "unusable": {}, "gone": 1}
    assert shown["pairs"]["states"] == {"posted": posted}
    assert [run["exit_code"] for run in shown["runs"]] == [0, 0]
    home.configure(decision={"min_probability": 0.9})
    text = home.run("stats").out
    assert "decision.min_probability" in text
    assert "rebuild" in text


def test_the_demo_finds_the_copies_and_posts_none_twice(tmp_path: Path) -> None:
    ended = hydindex(
        "demo", "--folder", str(tmp_path / "demo"), cwd=tmp_path, HYDINDEX_API_KEY="f" * 64
    )
    assert ended.returncode == 0
    assert "0 of them posted twice" in ended.stdout
    assert "24 thumbnails fetched" in ended.stdout
    assert "4 requests, 0 thumbnails fetched" in ended.stdout
    assert (tmp_path / "demo" / "hydindex.db").exists()
    assert hydindex("demo", "--folder", str(tmp_path / "demo"), cwd=tmp_path).returncode == 2


@pytest.mark.skipif(os.name != "posix", reason="sends signals as POSIX systems do")
def test_the_demo_leaves_its_client_there_on_demand(tmp_path: Path) -> None:
    config = tmp_path / "demo" / "hydrus_config.json"
    words = ["demo", "--stay", "--folder", str(tmp_path / "demo")]
    with subprocess.Popen(
        [sys.executable, "-m", "hydindex", *words], stdout=subprocess.PIPE, text=True
    ) as demo:
        try:
            assert demo.stdout is not None
            for line in demo.stdout:
                if "hydindex check" in line:
                    break
            assert hydindex("check", "--config", str(config), cwd=tmp_path).returncode == 0
            demo.send_signal(signal.SIGTERM)
            rest = demo.stdout.read()
        finally:
            demo.kill()
    assert demo.returncode == 0
    assert f"hydindex stats --config {config}" in rest


def test_the_demo_leaves_a_folder_with_something_in_it_alone(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "holiday.mp4"):
        ended = hydindex("demo", "--folder", str(folder), cwd=tmp_path)
        assert ended.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]


def test_https_to_a_client_that_speaks_http_is_said_at_once(home: Home, serve: Serve) -> None:
    serve([])
    home.configure(api_url="https://127.0.0.1")
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 3
    assert outcome.json["error"]["kind"] == "hydrus_bad_reply"
    assert "https" in outcome.json["error"]["remedy"]


def test_superseded_keys_are_accepted_and_said_to_be_so(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library[:2])
    home.configure(ahash={"prefixBits": 12}, ssim_parallel={"workers": 4})
    outcome = home.run("update")
    assert outcome.exit_code == 0
    assert "ahash.prefixBits is no longer needed" in outcome.err
    assert "ssim_parallel is no longer needed" in outcome.err
    assert count(client, "/search_files") == 1
    assert len(fetched(client)) == 2
