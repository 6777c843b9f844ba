"""What commands share: their options, and a session with config, console, index and client."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hydindex.common.errors import ConfigError

# numpy, SQLAlchemy and requests take longer to import than `--help` should take: commands import
# what they need when they run.
if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.config.settings import Config
    from hydindex.hydrus.client import HydrusClient
    from hydindex.records.pair_states import PairState
    from hydindex.store.store import Store

DEFAULT_CONFIG = Path("hydrus_config.json")


@dataclass
class Invocation:
    """What the command line said, for errors that end the command."""

    command: str | None = None
    as_json: bool = False
    verbose: bool = False


def _note_json(context: typer.Context, value: bool) -> bool:
    context.ensure_object(Invocation).as_json = value
    return value


def _note_verbose(context: typer.Context, value: bool) -> bool:
    context.ensure_object(Invocation).verbose = value
    return value


def state_names() -> list[str]:
    """Return the names of the states of a pair."""
    from hydindex.records.pair_states import PairState

    return [str(state) for state in PairState]


ConfigPath = Annotated[
    Path,
    typer.Option("--config", metavar="FILE", envvar="HYDINDEX_CONFIG", help="Config file."),
]
WaitForClient = Annotated[
    float,
    typer.Option(
        "--wait-for-client",
        metavar="MINUTES",
        min=0.0,
        help="Wait up to this many minutes for Hydrus.",
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the result as one JSON object.", callback=_note_json),
]
Verbose = Annotated[
    bool,
    typer.Option(
        "-v", "--verbose", help="Log every score and show tracebacks.", callback=_note_verbose
    ),
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and errors.")]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only pairs in this state: queued, sending, posted, known or refused. Can be given "
        "several times. [default: all]",
        show_default=False,
        autocompletion=state_names,
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        metavar="SCORE",
        min=0.0,
        max=1.0,
        help="Only pairs with at least this score. [default: all]",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Session:
    """A command at work: its config, and the console that it prints to."""

    config: "Config"
    config_path: Path
    console: "Console"

    @property
    def index_path(self) -> Path:
        """The index file."""
        from hydindex.config.config_file import index_path

        return index_path(self.config, self.config_path)

    @contextmanager
    def read_index(self) -> "Iterator[Store]":
        """Open the index for reading; an update may run meanwhile."""
        from hydindex.store.store import open_for_reading

        with open_for_reading(self.index_path) as store:
            yield store

    @contextmanager
    def write_index(self, command: str) -> "Iterator[Store]":
        """Lock the index for this command, and open it for writing."""
        from hydindex.store.store import open_for_writing

        with open_for_writing(self.index_path, command) as store:
            yield store

    def connect(self) -> "HydrusClient":
        """Open the client; warn if others could read the access key.

        Raises:
            ConfigError: no access key is set, or `tls.ca_bundle` can't be read.
        """
        from hydindex.commands.connection import connect
        from hydindex.config.key_exposure import exposures

        key = self.config.require_key()
        for exposure in exposures(self.config, self.config_path):
            logging.getLogger("hydindex").warning("%s", exposure)
        return connect(self.config, self.config_path, key=key)


def open_session(
    config_path: Path,
    *,
    as_json: bool = False,
    verbose: bool = False,
    quiet: bool = False,
    write_log: bool = False,
) -> Session:
    """Read the config and set up the console; with `write_log`, the log file too.

    Raises:
        ConfigError: the config is wrong, or the log file can't be written.
    """
    from hydindex.commands.console import Console
    from hydindex.config import config_file

    config = config_file.load(config_path)
    try:
        console = Console(
            log_level=0 if quiet else 2 if verbose else config.log_level,
            as_json=as_json,
            quiet=quiet,
            show_progress=config.progress.enabled,
            log_path=config_file.log_path(config, config_path) if write_log else None,
        )
    except OSError as error:
        raise ConfigError(
            f"log.path cannot be written: {error}", "Name a file in a folder that exists."
        ) from None
    for key in config.ignored_keys:
        console.note(f"The config key {key} is no longer needed and has no effect.")
    return Session(config, config_path, console)


def parse_states(names: list[str] | None) -> "list[PairState]":
    """Convert the values of `--state`.

    Raises:
        ConfigError: there is no such state.
    """
    from hydindex.records.pair_states import PairState

    for name in names or ():
        if name not in state_names():
            raise ConfigError(
                f"The command line is wrong: there is no pair state {name}",
                f"--state takes one of {', '.join(state_names())}.",
            )
    return [PairState(name) for name in names or ()]
