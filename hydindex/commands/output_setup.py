"""The results of `init` and `check`, in words for people and as JSON for programs."""

import os
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path

from hydindex.commands.console import Console
from hydindex.common.errors import ExitCode
from hydindex.config.settings import API_KEY_VARIABLE
from hydindex.hydrus.permissions import OPEN_DIALOG
from hydindex.pipeline.check import SUBJECTS, Finding, Verdict
from hydindex.pipeline.connect import USUAL_PORTS
from hydindex.pipeline.first_minutes import Start

_VERDICT_WIDTH = max(len(verdict) for verdict in Verdict)
_SUBJECT_WIDTH = max(len(subject) for subject in SUBJECTS)


def show_start(
    console: Console, start: Start, config_path: Path, schema_path: Path, *, is_named: bool
) -> None:
    """Show what was written, and what is left to do.

    `is_named` is whether the commands to come must name the config.
    """
    own = ", which only you can read" if os.name == "posix" else ""
    console.print(f"Written: {config_path}{own}")
    console.print(f"         {schema_path}, by which an editor explains every key")
    console.print()
    named = f" --config {shlex.quote(str(config_path))}" if is_named else ""
    left_to_do = list(_left_to_do(start, named))
    if left_to_do:
        console.print("Left to do:")
        for each in left_to_do:
            console.print(f"  - {each}")
        console.print("Then:")
    else:
        console.print("Next:")
    console.print(f"  hydindex check{named}")
    console.print(f"  hydindex update --dry-run{named}")


def _left_to_do(start: Start, named: str) -> Iterator[str]:
    if not start.client_answers:
        ports = " or ".join(str(port) for port in USUAL_PORTS)
        yield (
            f"No Hydrus client answers at {start.api_url} on port {ports}: start it, switch its "
            "Client API on (services > manage services > client api), and put its address into "
            "api_url and api_port."
        )
    if start.api_key is None:
        yield (
            f"There is no access key yet: hydindex init --overwrite{named}, in a terminal, gets "
            f"one from the client ({OPEN_DIALOG}). Or put one into api_key or {API_KEY_VARIABLE}."
        )
    elif os.environ.get(API_KEY_VARIABLE):
        yield f"The key is not in the config: set {API_KEY_VARIABLE} wherever hydindex runs."


def show_check(console: Console, findings: Iterable[Finding]) -> ExitCode:
    """Show findings as they come, and give the exit code: that of the first trouble.

    A `verdict` is ok, warning or trouble. Where one subject is in trouble others cannot be looked
    at: `not_looked_at` names them.
    """
    seen = []
    for finding in findings:
        seen.append(finding)
        _show(console, finding)
    exit_codes = (each.exit_code for each in seen if each.verdict is Verdict.TROUBLE)
    exit_code = next(exit_codes, ExitCode.DONE)
    not_looked_at = [
        subject
        for subject in SUBJECTS
        if subject != "decoder" and subject not in {each.subject for each in seen}
    ]
    console.print_json(
        {
            "command": "check",
            "exit_code": int(exit_code),
            "findings": [
                {
                    "subject": each.subject,
                    "verdict": each.verdict,
                    "message": each.message,
                    "remedy": each.remedy,
                }
                for each in seen
            ],
            "not_looked_at": not_looked_at,
        }
    )
    console.print()
    if not_looked_at:
        console.print(f"Not looked at, because of the above: {', '.join(not_looked_at)}.")
    console.print(_in_short(seen))
    return exit_code


def _show(console: Console, finding: Finding) -> None:
    margin = f"{finding.verdict:<{_VERDICT_WIDTH}}  {finding.subject:<{_SUBJECT_WIDTH}}  "
    lines = [*finding.message.splitlines(), *finding.remedy.splitlines()]
    console.print(margin + lines[0])
    for line in lines[1:]:
        console.print(" " * len(margin) + line)


def _in_short(seen: Iterable[Finding]) -> str:
    verdicts = [each.verdict for each in seen]
    troubles, warnings = verdicts.count(Verdict.TROUBLE), verdicts.count(Verdict.WARNING)
    if troubles:
        return f"{_number(troubles, 'trouble')} to mend first, {_number(warnings, 'warning')}."
    if warnings:
        return f"hydindex can run, with {_number(warnings, 'warning')}."
    return "All is well."


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
