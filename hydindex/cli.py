"""The commands: wires the parts together, and is the one place where errors become exit codes."""

import json
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from hydindex import __version__
from hydindex.errors import (
    ConfigError,
    ExitCode,
    HydindexError,
    IndexMissing,
    Interrupted,
    UnexpectedError,
)

# numpy, SQLAlchemy and requests take longer to import than `--help` should take: each command
# imports what it works with.
if TYPE_CHECKING:
    from hydindex.config import Config
    from hydindex.console import Console
    from hydindex.hydrus.client import HydrusClient

DEFAULT_CONFIG = Path("hydrus_config.json")

app = typer.Typer(
    name="hydindex",
    help="Find videos that look alike in a Hydrus library, and post each pair to Hydrus as a "
    "potential duplicate, once.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigPath = Annotated[
    Path, typer.Option("--config", envvar="HYDINDEX_CONFIG", help="Path of the config file.")
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Log the scores of pairs, and tracebacks of errors.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and errors.")]


@app.callback(invoke_without_command=True)
def hydindex(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Show the help where no command is named."""
    if version:
        print(f"hydindex {__version__}")
    elif context.invoked_subcommand is None:
        print(context.get_help())


@app.command()
def update(
    config_path: ConfigPath = DEFAULT_CONFIG,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Change nothing in Hydrus; say what would be posted."),
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Index what is new and post the pairs that look alike. Meant to run every night.

    Example: hydindex update --config ~/hydrus/hydrus_config.json
    """
    from hydindex import config as config_file
    from hydindex import output
    from hydindex.index.index import open_for_writing
    from hydindex.recipe import recipe_of
    from hydindex.run.record import recorded
    from hydindex.run.report import Report
    from hydindex.run.update import update as run_update

    config = config_file.load(config_path)
    console = _console(config, as_json=as_json, verbose=verbose, quiet=quiet)
    report = Report()
    with (
        _connect(config) as client,
        open_for_writing(config_file.index_path(config, config_path)) as index,
    ):
        index.adopt(recipe_of(config))
        with recorded(index, "update", config, report, dry_run=dry_run, posts=not dry_run):
            run_update(index, client, config, report, console.progress, dry_run=dry_run)
    exit_code = report.exit_code(posts=not dry_run)
    output.show_report(console, report, "update", exit_code, dry_run=dry_run)
    raise typer.Exit(exit_code)


@app.command()
def rebuild(
    config_path: ConfigPath = DEFAULT_CONFIG,
    refetch: Annotated[
        bool, typer.Option("--refetch", help="Fetch metadata and thumbnails again first.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Change nothing; say what would be redone."),
    ] = False,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Bring the index to a changed config. New matches are queued for the next update.

    Example: hydindex rebuild --dry-run
    """
    from contextlib import nullcontext

    from hydindex import config as config_file
    from hydindex import output
    from hydindex.index.index import open_for_reading, open_for_writing
    from hydindex.run.rebuild import plan_rebuild
    from hydindex.run.rebuild import rebuild as run_rebuild
    from hydindex.run.record import recorded
    from hydindex.run.report import Report

    config = config_file.load(config_path)
    path = config_file.index_path(config, config_path)
    console = _console(config, as_json=as_json, verbose=verbose, quiet=quiet)
    if dry_run:
        with open_for_reading(path) as index:
            output.show_plan(console, plan_rebuild(index, config, refetch=refetch))
        return
    if not path.exists():
        raise IndexMissing(f"There is no index at {path} yet", "Run hydindex update first.")
    report = Report()
    with (
        _connect(config) if refetch else nullcontext() as client,
        open_for_writing(path) as index,
        recorded(index, "rebuild", config, report, dry_run=False, posts=False),
    ):
        run_rebuild(index, config, report, console.progress, refetch_from=client)
    exit_code = report.exit_code(posts=False)
    output.show_report(console, report, "rebuild", exit_code, dry_run=False)
    raise typer.Exit(exit_code)


@app.command()
def stats(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show what the index holds. Changes nothing, and may run beside an update.

    Example: hydindex stats --json
    """
    from hydindex import config as config_file
    from hydindex import output
    from hydindex.index.index import open_for_reading
    from hydindex.run.stats import gather

    config = config_file.load(config_path)
    console = _console(config, as_json=as_json, verbose=False, quiet=False)
    with open_for_reading(config_file.index_path(config, config_path)) as index:
        output.show_stats(console, gather(index, config))


@app.command()
def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            help="A library to serve (files.json and thumbs/), or else an empty folder for the "
            "demo's config and index. [default: a generated library, a temporary folder]"
        ),
    ] = None,
) -> None:
    """Show all of it without a Hydrus client: a stand-in, a library, and three nights.

    Example: hydindex demo
    """
    from hydindex.demo.tour import DemoError, run_demo

    try:
        run_demo(folder)
    except DemoError as error:
        raise ConfigError(
            f"The demo cannot run: {error}", "See above, or name another folder."
        ) from None


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process with its exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    sys.exit(_run(words))


def _run(words: Sequence[str]) -> int:
    try:
        exit_code = int(app(args=words, standalone_mode=False) or ExitCode.DONE)
        if exit_code == ExitCode.INTERRUPTED:  # Typer has caught a Ctrl-C itself
            raise KeyboardInterrupt
        return exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _fail(words, Interrupted())
    except TyperException as error:
        usage = ConfigError(f"The command line is wrong: {error}", "hydindex --help explains it.")
        return _fail(words, usage)
    except HydindexError as error:
        return _fail(words, error)
    except Exception as error:
        return _fail(words, UnexpectedError.of(error))


def _fail(words: Sequence[str], error: HydindexError) -> int:
    """Say what happened and what to do: on stderr, and with `--json` as an object on stdout."""
    print(f"hydindex: {error.message}\n{error.remedy}", file=sys.stderr)
    if "--json" in words:
        trouble = {"kind": error.kind, "message": error.message, "remedy": error.remedy}
        result = {
            "command": next((word for word in words if not word.startswith("-")), None),
            "exit_code": int(error.exit_code),
            "error": trouble,
        }
        print(json.dumps(result, indent=2))
    if not {"-v", "--verbose"}.isdisjoint(words):
        traceback.print_exception(error)
    return error.exit_code


def _console(config: "Config", *, as_json: bool, verbose: bool, quiet: bool) -> "Console":
    from hydindex.console import Console

    chattiness = 0 if quiet else 2 if verbose else config.chattiness
    console = Console(
        chattiness=chattiness,
        as_json=as_json,
        quiet=quiet,
        show_progress=config.progress.enabled,
    )
    for key in config.superseded_keys:
        console.note(f"The config key {key} is no longer needed and has no effect.")
    return console


def _connect(config: "Config") -> "HydrusClient":
    from hydindex.hydrus.client import HydrusClient

    return HydrusClient(
        config.base_url,
        config.require_key(),
        api_timeout_s=config.timeouts.api,
        thumbnail_timeout_s=config.timeouts.thumb,
        post_timeout_s=config.timeouts.post,
        connections=config.network.max_connections,
        backoff_s=config.network.backoff_factor,
    )
