"""`hydindex schedule`: have the system run the update every night."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from textwrap import indent
from typing import Annotated, Final, Literal

import typer

from hydindex.commands.options import DEFAULT_CONFIG, ConfigPath, WaitForClient
from hydindex.common.errors import CannotSchedule

Scheduler = Literal["systemd", "cron", "launchd", "windows"]
Command = Sequence[str]

_LAUNCHD_LABEL: Final = "hydindex.update"
_CRON_MARK: Final = "# hydindex update"
# A system tool that hangs must not hang the installation.
_TOOL_TIMEOUT_S: Final = 60.0


def schedule(
    config_path: ConfigPath = DEFAULT_CONFIG,
    at: Annotated[
        datetime,
        typer.Option(
            formats=["%H:%M"],
            metavar="HH:MM",
            help="Daily run time, local. [default: 03:00]",
            show_default=False,
        ),
    ] = datetime(1900, 1, 1, hour=3),
    scheduler: Annotated[
        Scheduler | None,
        typer.Option(
            metavar="NAME",
            help="systemd, cron, launchd or windows. [default: this system's]",
        ),
    ] = None,
    wait_for_client_minutes: WaitForClient = 0,
    install: Annotated[
        bool, typer.Option("--install", help="Install the schedule instead of printing it.")
    ] = False,
) -> None:
    """Print or install a nightly schedule.

    The schedule runs the update every night. With --install, installs it instead of printing it.

    Example: hydindex schedule --at 04:30 --install
    """
    from hydindex.config import config_file
    from hydindex.config.settings import API_KEY_VARIABLE

    config_file.load(config_path).require_key()
    command = [sys.executable, "-m", "hydindex", "update", "--quiet"]
    if wait_for_client_minutes:
        command += ["--wait-for-client", f"{wait_for_client_minutes:g}"]
    command += ["--config", str(config_path.absolute())]
    planned = _SCHEDULES[scheduler or _scheduler_of_this_system()](command, at.time())
    if install:
        _install(planned)
    _show(planned, installed=install)
    if os.environ.get(API_KEY_VARIABLE):
        print(
            f"Note: {API_KEY_VARIABLE} is set in this shell. A scheduled run does not see it; put "
            "the key into the config, or set the variable for the scheduler."
        )


@dataclass(frozen=True, slots=True)
class _Schedule:
    """Files to write, then commands to run, or a line for the user's crontab.

    `undo`: the command that removes the schedule.
    """

    undo: Command
    files: Mapping[Path, str] = field(default_factory=dict)
    commands: Sequence[Command] = ()
    crontab_line: str | None = None


def _scheduler_of_this_system() -> Scheduler:
    if sys.platform == "win32":
        return "windows"
    if sys.platform == "darwin":
        return "launchd"
    return "systemd" if Path("/run/systemd/system").exists() else "cron"


def _systemd(command: Command, at: time) -> _Schedule:
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "systemd/user"
    quoted = " ".join(_for_systemd(word) for word in command)
    service = f"""\
[Unit]
Description=Find duplicate videos in Hydrus

[Service]
Type=oneshot
ExecStart={quoted}
"""
    timer = f"""\
[Unit]
Description=Find duplicate videos in Hydrus, every night

[Timer]
OnCalendar=*-*-* {at:%H:%M}:00
Persistent=true

[Install]
WantedBy=timers.target
"""
    return _Schedule(
        files={folder / "hydindex.service": service, folder / "hydindex.timer": timer},
        commands=[
            ["systemctl", "--user", "daemon-reload"],
            ["systemctl", "--user", "enable", "--now", "hydindex.timer"],
        ],
        undo=["systemctl", "--user", "disable", "--now", "hydindex.timer"],
    )


def _for_systemd(word: str) -> str:
    """Quote a word for a unit file, where % and $ have a meaning."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _cron(command: Command, at: time) -> _Schedule:
    quoted = shlex.join(command).replace("%", r"\%")  # a bare % ends the command
    line = f"{at.minute} {at.hour} * * * {quoted} {_CRON_MARK}"
    return _Schedule(crontab_line=line, undo=["crontab", "-e"])


def _launchd(command: Command, at: time) -> _Schedule:
    import plistlib  # slow to import; `--help` imports this module

    agent = {
        "Label": _LAUNCHD_LABEL,
        "ProgramArguments": list(command),
        "StartCalendarInterval": {"Hour": at.hour, "Minute": at.minute},
        "ProcessType": "Background",
    }
    path = Path(f"~/Library/LaunchAgents/{_LAUNCHD_LABEL}.plist").expanduser()
    return _Schedule(
        files={path: plistlib.dumps(agent).decode()},
        commands=[["launchctl", "load", "-w", str(path)]],
        undo=["launchctl", "unload", "-w", str(path)],
    )


def _windows(command: Command, at: time) -> _Schedule:
    task = ["schtasks", "/Create", "/F", "/TN", "hydindex", "/SC", "DAILY", "/ST", f"{at:%H:%M}"]
    return _Schedule(
        commands=[[*task, "/TR", subprocess.list2cmdline(command)]],
        undo=["schtasks", "/Delete", "/F", "/TN", "hydindex"],
    )


_SCHEDULES: Final[Mapping[Scheduler, Callable[[Command, time], _Schedule]]] = {
    "systemd": _systemd,
    "cron": _cron,
    "launchd": _launchd,
    "windows": _windows,
}


def _install(planned: _Schedule) -> None:
    """Write the files and run the commands.

    Raises:
        CannotSchedule: a file can't be written, or a command is missing or fails.
    """
    for path, text in planned.files.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise CannotSchedule(
                f"{path} cannot be written: {error}",
                "hydindex schedule shows what to write there.",
            ) from None
    if planned.crontab_line is not None:
        others = [line for line in _read_crontab() if not line.endswith(_CRON_MARK)]
        _run(["crontab", "-"], stdin="\n".join([*others, planned.crontab_line, ""]))
    for command in planned.commands:
        _run(command)


def _read_crontab() -> list[str]:
    try:
        return _run(["crontab", "-l"]).splitlines()
    except CannotSchedule as error:
        if "no crontab" in error.message:
            return []
        raise


def _run(command: Command, *, stdin: str | None = None) -> str:
    """Run a system command and return its output."""
    try:
        done = subprocess.run(
            command,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=_TOOL_TIMEOUT_S,
            check=True,
        )
        return done.stdout
    except FileNotFoundError:
        cause = f"{command[0]} is not installed"
    except subprocess.CalledProcessError as error:
        cause = error.stderr.strip() or f"exit code {error.returncode}"
    except (OSError, subprocess.TimeoutExpired) as error:
        cause = str(error)
    raise CannotSchedule(
        f"`{_as_typed(command)}` failed: {cause}",
        "Run it yourself to see why, or choose another scheduler with --scheduler.",
    )


def _show(planned: _Schedule, *, installed: bool) -> None:
    """Print the files, commands or crontab line, and how to remove them."""
    for path, text in planned.files.items():
        print(f"File: {path}\n{indent(text, '    ')}")
    if planned.crontab_line is not None:
        print(f"Line in your crontab (crontab -e):\n    {planned.crontab_line}")
    if planned.commands:
        print("Commands:")
        for command in planned.commands:
            print(f"    {_as_typed(command)}")
    if installed:
        print("\nInstalled: hydindex update now runs every day at that time. To stop that:")
    else:
        print("\nhydindex schedule --install does this for you. To undo it later:")
    print(f"    {_as_typed(planned.undo)}")


def _as_typed(command: Command) -> str:
    return subprocess.list2cmdline(command) if os.name == "nt" else shlex.join(command)
