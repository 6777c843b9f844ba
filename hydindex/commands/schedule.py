"""`hydindex schedule`: have the system run the update every night."""

import os
import shlex
from collections.abc import Sequence
from datetime import datetime
from subprocess import list2cmdline
from textwrap import indent
from typing import Annotated

import typer

from hydindex.commands.options import DEFAULT_CONFIG, ConfigPath, WaitForClient
from hydindex.commands.schedulers import (
    Schedule,
    Scheduler,
    install_schedule,
    plan_schedule,
    usual_scheduler,
)


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
    """Run the update every night.

    Prints the schedule. With --install, installs it.

    Example: hydindex schedule --at 04:30 --install
    """
    from hydindex.config import config_file
    from hydindex.config.settings import API_KEY_VARIABLE

    config_file.load(config_path).require_key()
    planned = plan_schedule(
        scheduler or usual_scheduler(),
        config_path,
        at.time(),
        wait_minutes=wait_for_client_minutes,
    )
    if install:
        install_schedule(planned)
    show_schedule(planned, installed=install)
    if os.environ.get(API_KEY_VARIABLE):
        print(
            f"Note: {API_KEY_VARIABLE} is set in this shell. A scheduled run does not see it; put "
            "the key into the config, or set the variable for the scheduler."
        )


def show_schedule(planned: Schedule, *, installed: bool) -> None:
    """Show the files, commands or crontab line, and how to remove them."""
    for path, text in planned.files.items():
        print(f"{'Written' if installed else 'File'}: {path}\n{indent(text, '    ')}")
    if planned.crontab_line is not None:
        print(f"{'Added' if installed else 'Line to add'} to your crontab (crontab -e):")
        print(f"    {planned.crontab_line}")
    if planned.commands:
        print("Run:" if installed else "Commands to run:")
        for command in planned.commands:
            print(f"    {_as_typed(command)}")
    if installed:
        print("\nhydindex update now runs every day at that time. To stop that:")
    else:
        print("\nhydindex schedule --install does this for you. To undo it later:")
    for command in planned.undo:
        print(f"    {_as_typed(command)}")


def _as_typed(command: Sequence[str]) -> str:
    return list2cmdline(command) if os.name == "nt" else shlex.join(command)
