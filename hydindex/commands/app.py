"""The command line: the list of commands, and how errors become output and exit codes."""

import json
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from hydindex import __version__
from hydindex.commands.calibrate import calibrate
from hydindex.commands.check import check
from hydindex.commands.demo import demo
from hydindex.commands.export_posted import export_posted
from hydindex.commands.import_posted import import_posted
from hydindex.commands.init import init
from hydindex.commands.options import Invocation
from hydindex.commands.pairs import pairs
from hydindex.commands.rebuild import rebuild
from hydindex.commands.repair import repair
from hydindex.commands.report import report
from hydindex.commands.schedule import schedule
from hydindex.commands.stats import stats
from hydindex.commands.update import update
from hydindex.common.errors import (
    ConfigError,
    ExitCode,
    HydindexError,
    Interrupted,
    UnexpectedError,
)

COMMANDS = (
    init,
    check,
    update,
    rebuild,
    stats,
    pairs,
    report,
    calibrate,
    repair,
    export_posted,
    import_posted,
    schedule,
    demo,
)
"""In the order of `hydindex --help`."""

app = typer.Typer(
    name="hydindex",
    help="Find videos that look alike in a Hydrus library, and post each pair to Hydrus as a "
    "potential duplicate, once.\n\nExample: hydindex demo",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in COMMANDS:
    app.command()(command)


@app.callback(invoke_without_command=True)
def hydindex(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Show the help if no command is given."""
    context.ensure_object(Invocation).command = context.invoked_subcommand
    if version:
        print(f"hydindex {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))


def _run(arguments: list[str]) -> int:
    invocation = Invocation()
    try:
        result = app(args=arguments, standalone_mode=False, obj=invocation)
        if result == ExitCode.INTERRUPTED:  # Typer itself has caught a Ctrl-C
            raise KeyboardInterrupt
        return int(result or ExitCode.DONE)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(invocation, Interrupted())
    except TyperException as error:
        # Parsing failed before all options were known.
        invocation.as_json = invocation.as_json or "--json" in arguments
        mistake = error.format_message()
        usage = ConfigError(f"The command line is wrong: {mistake}", "See hydindex --help.")
        return _fail(invocation, usage)
    except HydindexError as error:
        return _fail(invocation, error)
    except SystemExit as ended:
        # A reader that has read enough, as in `hydindex pairs | head`, is no failure.
        if isinstance(ended.__context__, BrokenPipeError):
            return ExitCode.DONE
        raise
    except Exception as error:
        return _fail(invocation, UnexpectedError.of(error))


def _fail(invocation: Invocation, error: HydindexError) -> int:
    """Print what happened and what to do on stderr; with `--json`, an object on stdout too."""
    from hydindex.commands.console import log_run

    print(f"hydindex: {error.message}\n{error.remedy}", file=sys.stderr)
    log_run(f"{invocation.command} exit={int(error.exit_code)} {error.message}")
    if invocation.as_json:
        details = {"kind": error.kind, "message": error.message, "remedy": error.remedy}
        result = {
            "command": invocation.command,
            "exit_code": int(error.exit_code),
            "error": details,
        }
        print(json.dumps(result, indent=2))
    if invocation.verbose:
        traceback.print_exception(error)
    return error.exit_code
