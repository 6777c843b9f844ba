"""`hydindex schedule` shows a schedule that works; `--install` installs it."""

import json
import os
import plistlib
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Home

KEY = "38" * 32
pytestmark = pytest.mark.skipif(os.name != "posix", reason="replaces schedulers by shell scripts")


@pytest.fixture
def user(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's home folder, and schedulers that log how they are called."""
    home.configure(api_key=KEY)
    folder, tools = tmp_path / "user", tmp_path / "tools"
    folder.mkdir()
    tools.mkdir()
    for name in ("systemctl", "launchctl", "schtasks", "crontab"):
        tool(tools / name, f'echo {name} "$@" >> {shlex.quote(str(folder))}/calls')
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return folder


def tool(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def calls(user: Path) -> list[str]:
    return (user / "calls").read_text().splitlines()


def update_words(home: Home, *options: str) -> list[str]:
    """Return the command that the schedule must run."""
    words = [sys.executable, "-m", "hydindex", "update", "--quiet"]
    return [*words, *options, "--config", str(home.config)]


def test_systemd_gets_a_timer_and_a_service(home: Home, user: Path) -> None:
    words = ("schedule", "--scheduler", "systemd", "--at", "04:30")
    shown = home.run(*words)
    assert shown.exit_code == 0
    assert not (user / ".config").exists()

    assert home.run(*words, "--install").exit_code == 0
    units = user / ".config" / "systemd" / "user"
    service, timer = ((units / f"hydindex.{kind}").read_text() for kind in ("service", "timer"))
    assert "OnCalendar=*-*-* 04:30:00" in timer
    (start,) = [line for line in service.splitlines() if line.startswith("ExecStart=")]
    assert shlex.split(start.removeprefix("ExecStart=")) == update_words(home)
    assert "SuccessExitStatus" not in service
    assert calls(user) == [
        "systemctl --user daemon-reload",
        "systemctl --user enable --now hydindex.timer",
    ]
    assert all(line in shown.out for line in [*service.splitlines(), *timer.splitlines()])


def test_cron_gets_one_line_and_keeps_the_others(home: Home, user: Path) -> None:
    crontab = user / "crontab"
    crontab.write_text("0 1 * * * backup\n")
    script = f'f={shlex.quote(str(crontab))}\nif [ "$1" = -l ]; then cat $f; else cat > $f; fi'
    tool(user.parent / "tools" / "crontab", script)
    for at in ("03:00", "04:05"):
        assert home.run("schedule", "--scheduler", "cron", "--at", at, "--install").exit_code == 0
    backup, line = crontab.read_text().splitlines()
    assert backup == "0 1 * * * backup"
    assert line.startswith("5 4 * * * ")
    command = line.removeprefix("5 4 * * * ").replace(r"\%", "%")
    assert shlex.split(command, comments=True) == update_words(home)


def test_an_unreadable_crontab_is_not_replaced(home: Home, user: Path) -> None:
    script = 'if [ "$1" = -l ]; then echo "permission denied" >&2; exit 1; fi; echo "$@" >> calls'
    tool(user.parent / "tools" / "crontab", f"cd {shlex.quote(str(user))}; {script}")
    outcome = home.run("schedule", "--scheduler", "cron", "--install")
    assert outcome.exit_code == 1
    assert "permission denied" in outcome.err
    assert not (user / "calls").exists()


def test_launchd_gets_an_agent(home: Home, user: Path) -> None:
    options = ["--wait-for-client", "30"]
    words = ("--scheduler", "launchd", "--at", "23:59", *options, "--install")
    assert home.run("schedule", *words).exit_code == 0
    (path,) = (user / "Library" / "LaunchAgents").iterdir()
    agent = plistlib.loads(path.read_bytes())
    assert agent["ProgramArguments"] == update_words(home, *options)
    assert agent["StartCalendarInterval"] == {"Hour": 23, "Minute": 59}
    assert calls(user) == [f"launchctl load -w {path}"]


def test_windows_gets_a_task(home: Home, user: Path) -> None:
    assert home.run("schedule", "--scheduler", "windows", "--install").exit_code == 0
    command = subprocess.list2cmdline(update_words(home))
    assert calls(user) == [f"schtasks /Create /F /TN hydindex /SC DAILY /ST 03:00 /TR {command}"]


def test_special_characters_in_paths_are_quoted(home: Home, user: Path) -> None:
    folder = home.folder / 'my 100% "videos" $HOME'
    folder.mkdir()
    home.config.rename(folder / "hydrus_config.json")
    home.config = folder / "hydrus_config.json"
    home.run("schedule", "--scheduler", "systemd", "--install")
    service = (user / ".config" / "systemd" / "user" / "hydindex.service").read_text()
    assert r'my 100%% \"videos\" $$HOME/hydrus_config.json"' in service
    shown = home.run("schedule", "--scheduler", "cron").out
    (line,) = [each.strip() for each in shown.splitlines() if "* * *" in each]
    command = line.split(" ", 5)[5].replace(r"\%", "%")
    assert shlex.split(command, comments=True) == update_words(home)


def test_a_failing_or_missing_scheduler_is_an_error(
    home: Home, user: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool(user.parent / "tools" / "systemctl", 'echo "Failed to connect to bus" >&2; exit 1')
    failed = home.run("schedule", "--scheduler", "systemd", "--install")
    assert failed.exit_code == 1
    assert "Failed to connect to bus" in failed.err
    monkeypatch.setenv("PATH", "")
    missing = home.run("schedule", "--scheduler", "launchd", "--install")
    assert missing.exit_code == 1
    assert "launchctl is not installed" in missing.err


def test_a_config_without_a_key_is_not_scheduled(home: Home, user: Path) -> None:
    home.config.write_text(json.dumps({"api_key": "your-hydrus-api-key-here"}))
    assert home.run("schedule", "--install").exit_code == 2
    assert not (user / "calls").exists()
