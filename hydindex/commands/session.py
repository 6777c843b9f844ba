"""The session of a command: its config, console, index and client."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hydindex.common.errors import ConfigError

# numpy, SQLAlchemy and requests take longer to import than `--help` should take: commands import
# what they need when they run.
if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.config.settings import Config
    from hydindex.hydrus.client import HydrusClient

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Session:
    """A command at work: its config, and the console that it prints to."""

    config: "Config"
    config_path: Path
    console: "Console"
    index_path: Path

    def connect(self) -> "HydrusClient":
        """Open the client; warn if others could read the access key.

        Raises:
            ConfigError: no access key is set, or `tls.ca_bundle` can't be read.
        """
        from hydindex.commands.connection import connect
        from hydindex.config.key_exposure import exposures

        key = self.config.require_key()
        for exposure in exposures(self.config, self.config_path):
            log.warning("%s", exposure)
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
        log.info("The config key %s is no longer needed and has no effect.", key)
    return Session(config, config_path, console, config_file.index_path(config, config_path))
