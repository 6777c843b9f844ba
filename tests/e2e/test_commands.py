"""The commands as a user or a timer runs them: mostly in their own processes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Home, Library, Serve, count, fetched

from hydindex import __version__
from hydindex.standin.server import StandIn


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
    ended = hydindex("--help", cwd=tmp_path)
    assert ended.returncode == 0
    commands = "init check update rebuild stats pairs report calibrate schedule repair demo"
    assert set(commands.split()) <= set(ended.stdout.split())
    assert hydindex("--version", cwd=tmp_path).stdout == f"hydindex {__version__}\n"


@pytest.mark.usefixtures("client")
def test_the_config_of_the_working_folder_is_used_unless_another_is_named(
    home: Home, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert hydindex("update", cwd=home.folder).returncode == 0
    assert hydindex("stats", "--config", str(home.config), cwd=elsewhere).returncode == 0
    assert hydindex("stats", cwd=elsewhere, HYDINDEX_CONFIG=str(home.config)).returncode == 0
    assert hydindex("stats", cwd=elsewhere).returncode == 2
    assert list(elsewhere.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "exit_code", "kind"),
    [
        ({"api_key": "your-hydrus-api-key-here"}, 2, "config"),
        ({"api_key": "not hexadecimal"}, 3, "hydrus_access"),
        ({"api_key": "d" * 64}, 3, "hydrus_access"),
        ({"api_key": StandIn.SEARCH_ONLY_KEY}, 3, "hydrus_access"),
        ({"api_port": 9}, 3, "hydrus_unreachable"),
        ({"api_url": "https://127.0.0.1"}, 3, "hydrus_bad_reply"),
        ({"tags": ["system:filetype is vidio"]}, 2, "config"),
        ({"simularity_threshold": 0.5}, 2, "config"),
    ],
)
@pytest.mark.usefixtures("client")
def test_an_error_has_a_kind_an_exit_code_and_a_remedy(
    home: Home, change: dict[str, object], exit_code: int, kind: str
) -> None:
    home.configure(**change)
    outcome = home.run("update", "--json")
    assert outcome.exit_code == exit_code
    assert outcome.json["command"] == "update"
    assert outcome.json["exit_code"] == exit_code
    error = outcome.json["error"]
    assert error["kind"] == kind
    assert error["message"] in outcome.err
    assert error["remedy"] in outcome.err
    assert "Traceback" not in outcome.err
    assert StandIn.SEARCH_ONLY_KEY not in outcome.out + outcome.err
    if change == {"api_key": StandIn.SEARCH_ONLY_KEY}:
        assert "edit file relationships" in error["message"]
    if "api_url" in change:
        assert "https" in error["remedy"]


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["updat"], "updat"),
        (["update", "--jsn"], "--jsn"),
        (["report"], "--output"),
        (["import-posted"], "FILE"),
        (["schedule", "--at", "25:00"], "--at"),
        (["update", "--wait-for-client", "-1"], "--wait-for-client"),
        (["pairs", "--min-score", "2"], "--min-score"),
    ],
)
def test_a_wrong_command_line_is_named_as_typed(home: Home, words: list[str], named: str) -> None:
    outcome = home.run(*words)
    assert outcome.exit_code == 2
    first_line = outcome.err.splitlines()[0]
    assert first_line.startswith("hydindex: The command line is wrong: ")
    assert named in first_line


def test_a_wrong_command_line_with_json_gives_json(home: Home) -> None:
    outcome = home.run("update", "--jsn", "--json")
    assert outcome.exit_code == 2
    assert outcome.json["error"]["kind"] == "config"


@pytest.mark.parametrize("option", ["-v", "-qv", "--verbose"])
def test_tracebacks_are_shown_only_if_verbose(home: Home, option: str) -> None:
    home.configure(api_key="c" * 64, api_port=9)
    assert "Traceback" in home.run("update", option).err
    assert "Traceback" not in home.run("update").err


def test_a_bug_exits_with_70(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("there is a bug")

    monkeypatch.setattr("hydindex.pipeline.update.update", fail)
    home.configure(api_key="c" * 64)
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 70
    assert "there is a bug" in outcome.json["error"]["message"]


def test_a_package_that_cannot_be_imported_exits_with_70(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('typer is broken')")
    ended = hydindex("stats", cwd=tmp_path, PYTHONPATH=str(tmp_path))
    assert ended.returncode == 70
    assert "typer is broken" in ended.stderr


@pytest.mark.usefixtures("client")
def test_stdout_has_only_the_result_and_pipes_get_no_progress_bars(home: Home) -> None:
    ended = hydindex("update", cwd=home.folder)
    assert ended.stdout.startswith("Files: 40 found")
    assert ended.stderr == ""
    assert hydindex("update", "-q", cwd=home.folder).stdout == ""


# What takes longest to import, and packages that import it.
FOR_WORK = {"torch", "scipy", "skimage", "pytorch_msssim", "alembic", "distributed", "av"}
FOR_THE_CLIENT = {"requests", "PIL"}
FOR_THE_INDEX = {"numpy", "sqlalchemy"}


@pytest.mark.usefixtures("posted")
def test_a_command_imports_only_what_it_needs(home: Home) -> None:
    for line, unneeded in {
        "update": FOR_WORK,
        "report --output report.html": FOR_WORK,
        "stats": FOR_WORK | FOR_THE_CLIENT,
        "pairs": FOR_WORK | FOR_THE_CLIENT,
        "update --help": FOR_WORK | FOR_THE_CLIENT | FOR_THE_INDEX,
        "--help": FOR_WORK | FOR_THE_CLIENT | FOR_THE_INDEX | {"pydantic"},
    }.items():
        script = (
            "import sys\nfrom hydindex.commands import app\n"
            f"try: app.main({line.split()!r})\n"
            "except SystemExit as end: assert end.code == 0, end.code\n"
            f"sys.exit(' '.join({unneeded!r} & sys.modules.keys()))"
        )
        ended = subprocess.run(
            [sys.executable, "-c", script], cwd=home.folder, stderr=subprocess.PIPE, check=False
        )
        assert ended.stderr.strip() == b"", line


def test_stats_show_what_the_index_holds(home: Home, client: StandIn, library: Library) -> None:
    posted = home.update()["pairs"]["posted"]
    client.trash(library[0].hash)
    home.update()
    stats = json.loads(hydindex("stats", "--json", cwd=home.folder).stdout)
    assert stats["files"] == {"compared": 39, "waiting": 0, "unusable": {}, "gone": 1}
    assert stats["pairs"]["states"] == {"posted": posted}
    assert [run["exit_code"] for run in stats["runs"]] == [0, 0]


def test_the_demo_finds_the_copies_and_posts_each_pair_once(tmp_path: Path) -> None:
    words = ("demo", "--folder", str(tmp_path / "demo"))
    ended = hydindex(*words, cwd=tmp_path, HYDINDEX_API_KEY="f" * 64)
    assert ended.returncode == 0
    assert "0 of them posted twice" in ended.stdout
    assert "24 thumbnails fetched" in ended.stdout
    assert "5 requests, 0 thumbnails fetched" in ended.stdout
    assert (tmp_path / "demo" / "hydindex.db").exists()
    assert hydindex(*words, cwd=tmp_path).returncode == 2  # the folder is no longer empty


@pytest.mark.skipif(os.name != "posix", reason="sends POSIX signals")
def test_the_demo_keeps_its_client_running_with_stay(tmp_path: Path) -> None:
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


def test_the_demo_changes_no_folder_that_is_not_empty(tmp_path: Path) -> None:
    (tmp_path / "holiday.mp4").write_bytes(b"")
    for folder in (tmp_path, tmp_path / "holiday.mp4"):
        assert hydindex("demo", "--folder", str(folder), cwd=tmp_path).returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["holiday.mp4"]


def test_superseded_config_keys_are_accepted_with_a_note(
    home: Home, serve: Serve, library: Library
) -> None:
    client = serve(library[:2])
    home.configure(ahash={"prefixBits": 12}, ssim_parallel={"workers": 4})
    outcome = home.run("update")
    assert outcome.exit_code == 0
    assert "ahash.prefixBits is no longer needed" in outcome.err
    assert "ssim_parallel is no longer needed" in outcome.err
    assert count(client, "/search_files") == 1
    assert len(fetched(client)) == 2
