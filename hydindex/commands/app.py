"""The command line: the list of commands, and how errors become output and exit codes."""

import json
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from typer.exceptions import TyperException

from hydindex import __version__
from hydindex.commands.calibrate import calibrate
from hydindex.commands.check import check
from hydindex.commands.demo import demo
from hydindex.commands.export_posted import export_posted
from hydindex.commands.import_posted import import_posted
from hydindex.commands.init import init
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

_VERBOSE: Final = {"--verbose", "-v", "-vq", "-qv"}

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
    if version:
        print(f"hydindex {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code."""
    sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))


def _run(arguments: list[str]) -> int:
    try:
        result = app(args=arguments, standalone_mode=False)
        if result == ExitCode.INTERRUPTED:  # Typer itself has caught a Ctrl-C
            raise KeyboardInterrupt
        return int(result or ExitCode.DONE)
    except (KeyboardInterrupt, typer.Abort):
        return _fail(arguments, Interrupted())
    except TyperException as error:
        mistake = error.format_message()
        usage = ConfigError(f"The command line is wrong: {mistake}", "See hydindex --help.")
        return _fail(arguments, usage)
    except HydindexError as error:
        return _fail(arguments, error)
    except SystemExit as ended:
        # A reader that has read enough, as in `hydindex pairs | head`, is no failure.
        if isinstance(ended.__context__, BrokenPipeError):
            return ExitCode.DONE
        raise
    except Exception as error:
        return _fail(arguments, UnexpectedError(error))


def _fail(arguments: list[str], error: HydindexError) -> int:
    """Print what happened and what to do on stderr; with `--json`, an object on stdout too."""
    from hydindex.commands.console import log_run

    command = next((word for word in arguments if not word.startswith("-")), None)
    print(f"hydindex: {error.message}\n{error.remedy}", file=sys.stderr)
    log_run(f"{command} exit={int(error.exit_code)} {error.message}")
    if "--json" in arguments:
        details = {"kind": error.kind, "message": error.message, "remedy": error.remedy}
        result = {"command": command, "exit_code": int(error.exit_code), "error": details}
        print(json.dumps(result, indent=2))
    if not _VERBOSE.isdisjoint(arguments):
        traceback.print_exception(error)
    return error.exit_code
