"""What makes a scheduler of the system run `hydindex update` every night."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import time
from pathlib import Path
from typing import Final, Literal

from hydindex.common.errors import CannotSchedule

Scheduler = Literal["systemd", "cron", "launchd", "windows"]

LAUNCHD_LABEL: Final = "hydindex.update"
_CRON_MARK: Final = "# hydindex update"
# A system tool that hangs must not hang the installation.
_TOOL_TIMEOUT_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """Files to write, then commands to run, or a line for the user's crontab.

    `undo`: the commands that remove the schedule.
    """

    scheduler: Scheduler
    files: Mapping[Path, str] = field(default_factory=dict)
    commands: Sequence[Sequence[str]] = ()
    crontab_line: str | None = None
    undo: Sequence[Sequence[str]] = ()


def usual_scheduler() -> Scheduler:
    """Return the scheduler of this system."""
    if sys.platform == "win32":
        return "windows"
    if sys.platform == "darwin":
        return "launchd"
    return "systemd" if Path("/run/systemd/system").exists() else "cron"


def plan_schedule(
    scheduler: Scheduler, config_path: Path, at: time, *, wait_minutes: float = 0.0
) -> Schedule:
    """Return what makes a scheduler run the update daily at a local time.

    The update waits up to `wait_minutes` for the client to answer.
    """
    command = [sys.executable, "-m", "hydindex", "update", "--quiet"]
    if wait_minutes:
        command += ["--wait-for-client", f"{wait_minutes:g}"]
    command += ["--config", str(config_path.absolute())]
    return _SCHEDULES[scheduler](command, at)


def install_schedule(planned: Schedule) -> None:
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
        lines = _run(["crontab", "-l"], accepted_error="no crontab").splitlines()
        others = [line for line in lines if not line.endswith(_CRON_MARK)]
        _run(["crontab", "-"], sent="\n".join([*others, planned.crontab_line, ""]))
    for command in planned.commands:
        _run(command)


def _systemd(command: Sequence[str], at: time) -> Schedule:
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
    return Schedule(
        "systemd",
        files={folder / "hydindex.service": service, folder / "hydindex.timer": timer},
        commands=[
            ["systemctl", "--user", "daemon-reload"],
            ["systemctl", "--user", "enable", "--now", "hydindex.timer"],
        ],
        undo=[["systemctl", "--user", "disable", "--now", "hydindex.timer"]],
    )


def _for_systemd(word: str) -> str:
    """Quote a word for a unit file, where % and $ have a meaning."""
    if re.fullmatch(r"[\w@+=:,./-]+", word, re.ASCII):
        return word
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"'


def _cron(command: Sequence[str], at: time) -> Schedule:
    quoted = shlex.join(command).replace("%", r"\%")  # a bare % ends the command
    line = f"{at.minute} {at.hour} * * * {quoted} {_CRON_MARK}"
    return Schedule("cron", crontab_line=line, undo=[["crontab", "-e"]])


def _launchd(command: Sequence[str], at: time) -> Schedule:
    import plistlib  # slow to import; `--help` imports this module

    agent = {
        "Label": LAUNCHD_LABEL,
        "ProgramArguments": list(command),
        "StartCalendarInterval": {"Hour": at.hour, "Minute": at.minute},
        "ProcessType": "Background",
    }
    path = Path(f"~/Library/LaunchAgents/{LAUNCHD_LABEL}.plist").expanduser()
    return Schedule(
        "launchd",
        files={path: plistlib.dumps(agent).decode()},
        commands=[["launchctl", "load", "-w", str(path)]],
        undo=[["launchctl", "unload", "-w", str(path)]],
    )


def _windows(command: Sequence[str], at: time) -> Schedule:
    task = ["schtasks", "/Create", "/F", "/TN", "hydindex", "/SC", "DAILY", "/ST", f"{at:%H:%M}"]
    return Schedule(
        "windows",
        commands=[[*task, "/TR", subprocess.list2cmdline(command)]],
        undo=[["schtasks", "/Delete", "/F", "/TN", "hydindex"]],
    )


_SCHEDULES: Final[Mapping[Scheduler, Callable[[Sequence[str], time], Schedule]]] = {
    "systemd": _systemd,
    "cron": _cron,
    "launchd": _launchd,
    "windows": _windows,
}


def _run(
    command: Sequence[str], *, sent: str | None = None, accepted_error: str | None = None
) -> str:
    """Run a system command and return its output; one error message is accepted."""
    shown = f"`{subprocess.list2cmdline(command)}`"
    program = shutil.which(command[0])
    if program is None:
        raise CannotSchedule(
            f"{command[0]} is not installed",
            "Choose another scheduler with --scheduler.",
        )
    try:
        ended = subprocess.run(
            [program, *command[1:]],
            input=sent,
            capture_output=True,
            text=True,
            timeout=_TOOL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CannotSchedule(f"{shown} failed: {error}", "Run it yourself to see why.") from None
    excused = accepted_error is not None and accepted_error in ended.stderr
    if ended.returncode != 0 and not excused:
        cause = ended.stderr.strip() or f"exit code {ended.returncode}"
        raise CannotSchedule(f"{shown} failed: {cause}", "Run it yourself to see why.")
    return ended.stdout
