"""`hydindex check`: test the setup, and change nothing."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from hydindex.commands.options import DEFAULT_CONFIG, AsJson, ConfigPath
from hydindex.common.errors import ExitCode

if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.commands.setup_checks import Finding


def check(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Test the setup without changing anything.

    Checks config, address, version, key, permissions, search, thumbnail, index, disk and lock. The
    exit code is that of the first error; warnings leave it at 0.

    Example: hydindex check --json
    """
    from hydindex.commands.console import Console
    from hydindex.commands.setup_checks import check_setup

    console = Console(as_json=as_json)
    raise typer.Exit(show_findings(console, check_setup(config_path)))


def show_findings(console: "Console", findings: "Iterable[tuple[str, Finding]]") -> ExitCode:
    """Show findings as they come, and return the exit code.

    `severity`: ok, warning or error. `not_checked`: subjects that an earlier error ruled out.
    """
    from hydindex.commands.setup_checks import SUBJECTS

    shown: dict[str, Finding] = {}
    for subject, finding in findings:
        shown[subject] = finding
        lines = [*finding.message.splitlines(), *finding.remedy.splitlines()]
        console.print(f"{finding.severity:<7}  {subject:<11}  {lines[0]}")
        for line in lines[1:]:
            console.print(" " * 22 + line)
    errors = [each for each in shown.values() if each.severity == "error"]
    exit_code = errors[0].exit_code if errors else ExitCode.DONE
    not_checked = [subject for subject in SUBJECTS if subject not in shown]
    console.print_json(
        "check",
        exit_code,
        findings=[
            {
                "subject": subject,
                "severity": finding.severity,
                "message": finding.message,
                "remedy": finding.remedy,
            }
            for subject, finding in shown.items()
        ],
        not_checked=not_checked,
    )
    console.print()
    if not_checked:
        console.print(f"Not checked because of the errors above: {', '.join(not_checked)}.")
    warnings = sum(each.severity == "warning" for each in shown.values())
    if errors or warnings:
        console.print(f"{_count(len(errors), 'error')} to fix, {_count(warnings, 'warning')}.")
    else:
        console.print("Everything works.")
    return exit_code


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
