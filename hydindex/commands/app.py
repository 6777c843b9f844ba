"""The commands: wires the parts together, and is the one place where errors become exit codes."""

import json
import sys
import traceback
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.exceptions import TyperException

from hydindex import __version__
from hydindex.common.errors import (
    ConfigError,
    ExitCode,
    HydindexError,
    IndexMissing,
    Interrupted,
    UnexpectedError,
)
from hydindex.pipeline.schedule import Scheduler

# numpy, SQLAlchemy and requests take longer to import than `--help` should take: each command
# imports what it works with.
if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.config.settings import Config
    from hydindex.hydrus.client import HydrusClient
    from hydindex.records.pairs import PairState

DEFAULT_CONFIG = Path("hydrus_config.json")

app = typer.Typer(
    name="hydindex",
    help="Find videos that look alike in a Hydrus library, and post each pair to Hydrus as a "
    "potential duplicate, once.\n\nExample: hydindex demo",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

ConfigPath = Annotated[
    Path,
    typer.Option("--config", metavar="FILE", envvar="HYDINDEX_CONFIG", help="The config file."),
]
WaitForClient = Annotated[
    float,
    typer.Option(
        "--wait-for-client",
        metavar="MINUTES",
        min=0.0,
        help="How long update waits until Hydrus answers, in minutes.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object on stdout.")
]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Log the scores of pairs, and tracebacks of errors.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and errors.")]


def _state_names() -> list[str]:
    from hydindex.records.pairs import PairState

    return [str(state) for state in PairState]


States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only pairs in this state: queued, sending, posted, known or refused. May be named "
        "several times. [default: any]",
        show_default=False,
        autocompletion=_state_names,
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        metavar="SCORE",
        min=0.0,
        max=1.0,
        help="Only pairs with this score or a higher one. [default: any]",
        show_default=False,
    ),
]


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
def init(
    config_path: ConfigPath = DEFAULT_CONFIG,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Write the config anew where there is one already.")
    ] = False,
    wait_s: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0.0,
            help="How long to wait for each click in Hydrus, in seconds.",
        ),
    ] = 300,
) -> None:
    """Find the client, and write a config for it.

    It asks the client for an access key, and you for what to search for. Without a terminal it
    asks nothing, writes the defaults, and says what is left to do.

    Example: hydindex init --config ~/hydrus/hydrus_config.json
    """
    from hydindex.commands import output_setup
    from hydindex.commands.console import Console
    from hydindex.pipeline import first_minutes

    console = Console(chattiness=0, as_json=False, quiet=False, show_progress=False)
    try:
        with first_minutes.private_file(config_path, overwrite=overwrite) as file:
            if console.has_somebody:
                start = first_minutes.ask_for_all(console, config_path, wait_s=wait_s)
            else:
                start = first_minutes.take_defaults(config_path)
            file.write(first_minutes.config_text(start))
    except (KeyboardInterrupt, typer.Abort):
        raise Interrupted("no config was written", "Run hydindex init again.") from None
    schema_path = first_minutes.write_schema(config_path)
    is_named = config_path != DEFAULT_CONFIG
    output_setup.show_start(console, start, config_path, schema_path, is_named=is_named)


@app.command()
def check(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Say what is wrong with the set-up. Changes nothing.

    Goes through config, address, version, key, permissions, search, a thumbnail, index, disk space
    and lock.

    The exit code is that of the first trouble; warnings leave it at 0.

    Example: hydindex check --json
    """
    from hydindex.commands import output_setup
    from hydindex.commands.console import Console
    from hydindex.pipeline.check import check as look_at_all

    console = Console(chattiness=0, as_json=as_json, quiet=False, show_progress=False)
    raise typer.Exit(output_setup.show_check(console, look_at_all(config_path)))


@app.command()
def update(
    config_path: ConfigPath = DEFAULT_CONFIG,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Change nothing in Hydrus; say what would be posted."),
    ] = False,
    wait_for_client_minutes: WaitForClient = 0,
    as_json: AsJson = False,
    verbose: Verbose = False,
    quiet: Quiet = False,
) -> None:
    """Index what is new, and post what looks alike.

    Meant to run every night.

    After a dry run the pairs stay queued.

    Example: hydindex update --config ~/hydrus/hydrus_config.json
    """
    from hydindex.commands import output
    from hydindex.config import config_file
    from hydindex.matching.recipe import recipe_of
    from hydindex.pipeline.connect import wait_for_client
    from hydindex.pipeline.popup import shown_in_client
    from hydindex.pipeline.run_record import recorded
    from hydindex.pipeline.run_report import Report
    from hydindex.pipeline.update import update as run_update
    from hydindex.store.store import open_for_writing

    config = config_file.load(config_path)
    log_path = config_file.log_path(config, config_path)
    console = _console(config, as_json=as_json, verbose=verbose, quiet=quiet, log_path=log_path)
    wait_for_client(config, config_path, minutes=wait_for_client_minutes)
    report = Report()
    with shown_in_client(config, config_path, report, dry_run=dry_run):
        with (
            _connect(config, config_path) as client,
            open_for_writing(config_file.index_path(config, config_path), "update") as index,
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

    It redoes what the change makes necessary, from the stored thumbnails.

    Example: hydindex rebuild --dry-run
    """
    from contextlib import nullcontext

    from hydindex.commands import output
    from hydindex.config import config_file
    from hydindex.pipeline.rebuild import plan_rebuild
    from hydindex.pipeline.rebuild import rebuild as run_rebuild
    from hydindex.pipeline.run_record import recorded
    from hydindex.pipeline.run_report import Report
    from hydindex.store.store import open_for_reading, open_for_writing

    config = config_file.load(config_path)
    path = config_file.index_path(config, config_path)
    log_path = config_file.log_path(config, config_path)
    console = _console(config, as_json=as_json, verbose=verbose, quiet=quiet, log_path=log_path)
    if dry_run:
        with open_for_reading(path) as index:
            output.show_plan(console, plan_rebuild(index, config, refetch=refetch))
        return
    if not path.exists():
        raise IndexMissing(f"There is no index at {path} yet", "Run hydindex update first.")
    report = Report()
    with (
        _connect(config, config_path) if refetch else nullcontext() as client,
        open_for_writing(path, "rebuild") as index,
        recorded(index, "rebuild", config, report, dry_run=False, posts=False),
    ):
        run_rebuild(index, config, report, console.progress, refetch_from=client)
    exit_code = report.exit_code(posts=False)
    output.show_report(console, report, "rebuild", exit_code, dry_run=False)
    raise typer.Exit(exit_code)


@app.command()
def stats(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Show what the index holds. Changes nothing, and may run beside an update.

    What needs attention comes first; and what you decided about posted pairs is shown by score.

    Example: hydindex stats --json
    """
    from hydindex.commands import output
    from hydindex.config import config_file
    from hydindex.pipeline.stats import gather
    from hydindex.store.store import open_for_reading

    config = config_file.load(config_path)
    console = _console(config, as_json=as_json, verbose=False, quiet=False)
    with open_for_reading(config_file.index_path(config, config_path)) as index:
        output.show_stats(console, gather(index, config))


@app.command()
def pairs(
    config_path: ConfigPath = DEFAULT_CONFIG,
    states: States = None,
    min_score: MinScore = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV on stdout.")] = False,
) -> None:
    """List pairs, and what became of them.

    The most certain come first.

    Example: hydindex pairs --state posted --min-score 0.9
    """
    from hydindex.commands import output
    from hydindex.config import config_file
    from hydindex.store.store import open_for_reading

    if as_json and as_csv:
        raise ConfigError("--json and --csv exclude each other", "Name one of them.")
    config = config_file.load(config_path)
    console = _console(config, as_json=as_json, verbose=False, quiet=False)
    with open_for_reading(config_file.index_path(config, config_path)) as index:
        found = index.pairs.most_certain(_pair_states(states), min_score)
    output.show_pairs(console, found, as_csv=as_csv)


@app.command()
def report(
    output_path: Annotated[
        Path, typer.Option("--output", metavar="FILE", help="File to write, an HTML page.")
    ],
    config_path: ConfigPath = DEFAULT_CONFIG,
    states: States = None,
    min_score: MinScore = None,
    limit: Annotated[
        int, typer.Option("--limit", metavar="PAIRS", min=1, help="Show so many pairs at most.")
    ] = 5000,
) -> None:
    """Write a page that shows pairs side by side.

    It also shows what speaks for them; open it in a browser. All of it is in the one file,
    thumbnails too: it needs no network, and no Hydrus.

    Example: hydindex report --output report.html
    """
    from hydindex.commands import output
    from hydindex.config import config_file
    from hydindex.pipeline.pairs_page import gather_page, page_lines
    from hydindex.store.store import open_for_reading

    config = config_file.load(config_path)
    console = _console(config, as_json=False, verbose=False, quiet=False)
    with open_for_reading(config_file.index_path(config, config_path)) as index:
        page = gather_page(index, config, _pair_states(states), min_score, limit=limit)
        _write_lines(output_path, page_lines(page, index))
    output.show_page(console, output_path, pairs=len(page.pairs), left_out=page.left_out)


@app.command()
def calibrate(
    config_path: ConfigPath = DEFAULT_CONFIG,
    write: Annotated[
        bool, typer.Option("--write", help="Write the model, if it does better on your decisions.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Learn from what you decided about pairs.

    Fits the model of the calibrated decision to the posted ones, and shows whether it does better.

    It shows precision and recall before and after, and takes 100 decisions, 10 of either kind at
    least. The model is written to decision.model, or to calibrated_model.json beside the config.

    Example: hydindex calibrate --write
    """
    from hydindex.commands import output
    from hydindex.config import config_file
    from hydindex.pipeline.calibrate import calibrate as fit_to_decisions
    from hydindex.pipeline.calibrate import model_path
    from hydindex.store.store import open_for_reading

    config = config_file.load(config_path)
    console = _console(config, as_json=as_json, verbose=False, quiet=False)
    with open_for_reading(config_file.index_path(config, config_path)) as index:
        calibration = fit_to_decisions(index, config)
    path = model_path(config, config_path)
    written = write and calibration.helps
    if written:
        _write_lines(path, calibration.model.to_json().splitlines())
    exit_code = output.show_calibration(console, calibration, path, written=written, asked=write)
    raise typer.Exit(exit_code)


@app.command()
def repair(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Save what can be saved of a damaged index.

    That is the record of posted pairs, and thumbnails.

    The next update does the rest. A sound index is left as it is.

    Example: hydindex repair
    """
    from hydindex.commands import output
    from hydindex.config import config_file
    from hydindex.store.repair import repair as repair_index

    config = config_file.load(config_path)
    console = _console(config, as_json=as_json, verbose=False, quiet=False)
    repaired = repair_index(config_file.index_path(config, config_path))
    raise typer.Exit(output.show_repair(console, repaired))


@app.command()
def export_posted(
    config_path: ConfigPath = DEFAULT_CONFIG,
    output_path: Annotated[
        Path | None,
        typer.Option(
            "--output",
            metavar="FILE",
            help="File to write. [default: stdout]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write out the record of posted pairs.

    As JSON lines; import-posted takes them into the index of another machine.

    Example: hydindex export-posted --output posted.jsonl
    """
    from hydindex.config import config_file
    from hydindex.pipeline.transfer import to_lines
    from hydindex.store.store import open_for_reading

    config = config_file.load(config_path)
    with open_for_reading(config_file.index_path(config, config_path)) as index:
        lines = to_lines(index.posted.each())
        if output_path is None:
            for line in lines:
                print(line)
        else:
            _write_lines(output_path, lines)


@app.command()
def import_posted(
    input_path: Annotated[
        Path, typer.Argument(metavar="FILE", help="What export-posted has written; - for stdin.")
    ],
    config_path: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Take in the record of another index.

    That is what export-posted has written. So none of these pairs is sent again from here.

    Example: hydindex import-posted posted.jsonl
    """
    from hydindex.config import config_file
    from hydindex.pipeline.transfer import from_lines
    from hydindex.store.store import open_for_writing

    config = config_file.load(config_path)
    try:
        # Editors on Windows like to put a byte order mark first.
        text = sys.stdin.read() if str(input_path) == "-" else input_path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{input_path} cannot be read: {error}",
            "Name a file that hydindex export-posted --output has written.",
        ) from None
    pairs = from_lines(text.splitlines())
    index_path = config_file.index_path(config, config_path)
    with open_for_writing(index_path, "import-posted") as index:
        before = index.posted.count()
        index.posted.add(pairs)
        new = index.posted.count() - before
    print(f"{len(pairs):,} pairs read, {new:,} of them new to the index {index_path}")


@app.command()
def schedule(
    config_path: ConfigPath = DEFAULT_CONFIG,
    at: Annotated[
        datetime,
        typer.Option(
            formats=["%H:%M"],
            metavar="HH:MM",
            help="When to run, every day, by the clock on the wall. [default: 03:00]",
            show_default=False,
        ),
    ] = datetime(1900, 1, 1, hour=3),
    scheduler: Annotated[
        Scheduler | None,
        typer.Option(
            metavar="NAME",
            help="What runs it: systemd, cron, launchd or windows. [default: what this system "
            "brings along]",
        ),
    ] = None,
    wait_for_client_minutes: WaitForClient = 0,
    install: Annotated[
        bool, typer.Option("--install", help="Set it up, instead of only saying how.")
    ] = False,
) -> None:
    """Have the system run update every night.

    Says how that is done, and with --install does it.

    Example: hydindex schedule --at 04:30 --install
    """
    from hydindex.commands import output
    from hydindex.config import config_file
    from hydindex.pipeline import schedule as scheduling

    config_file.load(config_path).require_key()
    planned = scheduling.schedule(
        scheduler or scheduling.usual_scheduler(),
        config_path,
        at.time(),
        wait_minutes=wait_for_client_minutes,
    )
    if install:
        scheduling.install(planned)
    output.show_schedule(planned, installed=install)


@app.command()
def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A library to serve (files.json and thumbs/), or else an empty folder for the "
            "demo's config and index. [default: a generated library, a temporary folder]",
        ),
    ] = None,
    stay: Annotated[
        bool,
        typer.Option("--stay", help="Leave the stand-in there afterwards, until Ctrl-C."),
    ] = False,
) -> None:
    """Show all of it without a Hydrus client.

    With a stand-in for the client, a library, and three nights.

    Example: hydindex demo
    """
    from hydindex.demo.tour import DemoError, run_demo

    try:
        run_demo(folder, stay=stay)
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
        mistake = error.format_message()
        usage = ConfigError(f"The command line is wrong: {mistake}", "hydindex --help explains it.")
        return _fail(words, usage)
    except HydindexError as error:
        return _fail(words, error)
    except SystemExit as ended:
        # Whoever reads has read enough, as in `hydindex pairs | head`: Typer calls that a failure.
        if isinstance(ended.__context__, BrokenPipeError):
            return ExitCode.DONE
        raise
    except Exception as error:
        return _fail(words, UnexpectedError.of(error))


def _fail(words: Sequence[str], error: HydindexError) -> int:
    """Say what happened and what to do: on stderr, and with `--json` as an object on stdout."""
    from hydindex.commands.console import log_run

    print(f"hydindex: {error.message}\n{error.remedy}", file=sys.stderr)
    command = next((word for word in words if not word.startswith("-")), None)
    log_run(f"{command} exit={int(error.exit_code)} {error.message}")
    if "--json" in words:
        trouble = {"kind": error.kind, "message": error.message, "remedy": error.remedy}
        result = {
            "command": command,
            "exit_code": int(error.exit_code),
            "error": trouble,
        }
        print(json.dumps(result, indent=2))
    if not {"-v", "--verbose"}.isdisjoint(words):
        traceback.print_exception(error)
    return error.exit_code


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a file as a whole, or leave the one that is there."""
    half = Path(f"{path}.part")
    try:
        with half.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in lines)
        half.replace(path)
    except BaseException as error:
        with suppress(OSError):
            half.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise ConfigError(
            f"{path} cannot be written: {error.strerror or error}",
            "Is its folder there, with room in it, and may you write there?",
        ) from None


def _pair_states(names: Sequence[str] | None) -> "list[PairState]":
    from hydindex.records.pairs import PairState

    states = _state_names()
    for name in names or ():
        if name not in states:
            raise ConfigError(
                f"The command line is wrong: no pair is ever {name}",
                f"--state takes one of {', '.join(states)}.",
            )
    return [PairState(name) for name in names or ()]


def _console(
    config: "Config", *, as_json: bool, verbose: bool, quiet: bool, log_path: Path | None = None
) -> "Console":
    from hydindex.commands.console import Console

    chattiness = 0 if quiet else 2 if verbose else config.log_level
    try:
        console = Console(
            chattiness=chattiness,
            as_json=as_json,
            quiet=quiet,
            show_progress=config.progress.enabled,
            log_path=log_path,
        )
    except OSError as error:
        raise ConfigError(
            f"log.path cannot be written: {error}", "Name a file in a folder that is there."
        ) from None
    for key in config.ignored_keys:
        console.note(f"The config key {key} is no longer needed and has no effect.")
    return console


def _connect(config: "Config", config_path: Path) -> "HydrusClient":
    import logging

    from hydindex.config.key_exposure import exposures
    from hydindex.pipeline.connect import connect

    key = config.require_key()
    for exposure in exposures(config, config_path):
        logging.getLogger("hydindex").warning("%s", exposure)
    return connect(config, config_path, key=key)
