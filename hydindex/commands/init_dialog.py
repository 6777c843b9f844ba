"""The dialog of `hydindex init`: find the client, get a key, choose the search."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import urlsplit

import typer
from pydantic import ValidationError

from hydindex.commands.connection import connect, find_port, version_of
from hydindex.common.errors import (
    ConfigError,
    HydindexError,
    HydrusAccessDenied,
    HydrusDialogClosed,
)
from hydindex.config.config_file import describe_errors
from hydindex.config.settings import API_KEY_VARIABLE, Config
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.permissions import OPEN_DIALOG, REQUIRED
from hydindex.pipeline.search import search

KEY_NAME: Final = "hydindex"
"""The name of the access key in Hydrus."""
_POLL_INTERVAL_S: Final = 1.0

T = TypeVar("T")


def ask_user(starter: Config, config_path: Path, *, wait_s: float) -> Config:
    """Find the client, get a key from it, and choose the search, together with the user.

    `wait_s`: how long to wait for each step that the user takes in Hydrus.

    Raises:
        HydindexError: no key was approved, or it is refused.
    """
    _say(
        f"This connects hydindex to your Hydrus client and writes {config_path}.\n"
        "Press Enter to accept a value in brackets, or Ctrl-C to quit without writing anything."
    )
    config = _choose_client(starter, config_path)
    key = os.environ.get(API_KEY_VARIABLE)
    if key:
        _say(f"The access key comes from {API_KEY_VARIABLE}; the config will not contain it.")
    else:
        key = _obtain_key(config, config_path, wait_s)
        config = config.model_copy(update={"api_key": key})
    with connect(config, config_path, key=key) as client:
        client.require_permissions()
        _say("The key works and has the permissions it needs.")
        return config.model_copy(update={"tags": _choose_search(client, str(starter.tags[0]))})


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _ask(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default, err=True)).strip()


def _choose_client(starter: Config, config_path: Path) -> Config:
    """Ask for the address until a client answers there."""
    port = find_port(starter, config_path) or starter.api_port
    address = f"{starter.api_url}:{port}"
    while True:
        address = _ask("Address of the Client API", address)
        try:
            config = _config_at(address, starter, config_path)
            version = version_of(config, config_path)
        except HydindexError as error:
            _say(f"{error.message}\n{error.remedy}")
            continue
        _say(f"Hydrus v{version} answers at {config.base_url}.")
        return config


def _config_at(address: str, starter: Config, config_path: Path) -> Config:
    """Parse an address as people write it; without a port, try the usual ones.

    Raises:
        ConfigError: it is not an address.
    """
    try:
        parts = urlsplit(address if "://" in address else f"http://{address}")
        if parts.port is None:
            config = Config(api_url=parts.geturl())
            port = find_port(config, config_path) or starter.api_port
            return config.model_copy(update={"api_port": port})
        host = parts.netloc.rpartition(":")[0]
        return Config(api_url=parts._replace(netloc=host).geturl(), api_port=parts.port)
    except ValidationError as error:
        problem = "; ".join(describe_errors(error))
    except ValueError as error:  # the port is not a number
        problem = str(error)
    raise ConfigError(f"This is not an address: {problem}", "Example: http://127.0.0.1:45869.")


def _obtain_key(config: Config, config_path: Path, wait_s: float) -> str:
    """Request a key from the client, and wait until the user has approved it."""
    with connect(config, config_path, key=None) as client:
        key = _wait_for_user(
            lambda: client.request_key(KEY_NAME),
            HydrusDialogClosed,
            f"hydindex needs an access key. In Hydrus, open\n  {OPEN_DIALOG}\n"
            "and leave that window open: hydindex continues by itself.",
            wait_s,
        )
    required = " and ".join(f"'{name}'" for name in REQUIRED.values())
    with connect(config, config_path, key=key) as client:
        _wait_for_user(
            client.require_permissions,
            HydrusAccessDenied,
            f"Hydrus now shows the requested permissions: {required}. Click OK there, then apply.",
            wait_s,
        )
    return key


def _wait_for_user(
    attempt: Callable[[], T],
    expected_error: type[HydindexError],
    instruction: str,
    wait_s: float,
) -> T:
    """Retry until the user has followed the instruction in Hydrus.

    Raises:
        HydindexError: another error occurs, or the time is up.
    """
    ends_at = time.monotonic() + wait_s
    last_message = None
    while True:
        try:
            return attempt()
        except expected_error as error:
            if time.monotonic() >= ends_at:
                raise HydrusAccessDenied(
                    f"No access key was granted within {wait_s:g} seconds: {error.message}",
                    "No config was written. Run hydindex init again; --wait sets the time.",
                ) from None
            if last_message is None:
                _say(instruction)
            elif error.message != last_message:
                _say(f"{error.message}. {error.remedy}")
            last_message = error.message
        time.sleep(_POLL_INTERVAL_S)


def _choose_search(client: HydrusClient, default: str) -> list[str]:
    """Ask which files to compare, until Hydrus understands the search."""
    _say("Which files should be compared? Enter tags as in Hydrus's search box, with commas.")
    while True:
        tags = [tag.strip() for tag in _ask("Search", default).split(",") if tag.strip()]
        try:
            files = search(client, tags)
        except ConfigError as error:
            _say(error.message)
            continue
        _say(f"Hydrus finds {len(files):,} files.")
        return tags
