"""The dialog of `hydindex init`: find the client, get a key, choose the search."""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, Protocol, TextIO, TypeVar
from urllib.parse import urlsplit

from pydantic import ValidationError

from hydindex.commands.connection import USUAL_PORTS, connect, find_port, version_of
from hydindex.common.errors import (
    ConfigError,
    HydindexError,
    HydrusAccessDenied,
    HydrusDialogClosed,
)
from hydindex.config.config_file import describe_errors
from hydindex.config.settings import (
    API_KEY_VARIABLE,
    PLACEHOLDER_KEY,
    Config,
    json_schema,
)
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.permissions import OPEN_DIALOG, REQUIRED, SEARCH_FILES
from hydindex.pipeline.posting import VERSION_THAT_DROPS_VIDEO_PAIRS
from hydindex.pipeline.search import search

STARTER: Final = "starter_config.json"
"""The values of a new config, in the package `hydindex.config`."""
SCHEMA_NAME: Final = "hydrus_config.schema.json"
KEY_NAME: Final = "hydindex"
"""The name of the access key in Hydrus."""
_POLL_INTERVAL_S: Final = 1.0
_LINE_WIDTH: Final = 100

T = TypeVar("T")


class User(Protocol):
    """The user at the terminal."""

    def tell(self, text: str) -> None:
        """Show a text."""
        ...

    def ask(self, question: str, default: str) -> str:
        """Ask for a line; Enter means the default."""
        ...

    def confirm(self, question: str) -> bool:
        """Ask for yes or no."""
        ...


@dataclass(frozen=True, slots=True)
class NewConfig:
    """What a new config says about the client, and whether the client answers."""

    api_url: str
    api_port: int
    tags: Sequence[str]
    api_key: str | None
    client_answers: bool


def ask_user(user: User, config_path: Path, *, wait_s: float) -> NewConfig:
    """Find the client, get a key from it, and choose the search, together with the user.

    `wait_s`: how long to wait for each step that the user takes in Hydrus.

    Raises:
        HydindexError: no key was approved, or it is refused.
    """
    user.tell(
        f"This connects hydindex to your Hydrus client and writes {config_path}.\n"
        "Press Enter to accept a value in brackets, or Ctrl-C to quit without writing anything."
    )
    config = _choose_client(user, config_path)
    key = os.environ.get(API_KEY_VARIABLE)
    if key:
        user.tell(f"The access key comes from {API_KEY_VARIABLE}; the config will not contain it.")
    else:
        key = _obtain_key(user, config, config_path, wait_s)
    with connect(config, config_path, key=key) as client:
        client.require_permissions()
        user.tell("The key works and has the permissions it needs.")
        tags = _choose_search(user, client)
    return NewConfig(config.api_url, config.api_port, tags, key, client_answers=True)


def defaults(config_path: Path) -> NewConfig:
    """Return the shipped values, with the port on which a client answers."""
    starter = Config.model_validate_json(json.dumps(_starter()))
    port = find_port(starter, config_path)
    key = os.environ.get(API_KEY_VARIABLE)
    tags = _starter()["tags"]
    found = port or starter.api_port
    return NewConfig(starter.api_url, found, tags, key, client_answers=port is not None)


@contextmanager
def private_file(path: Path, *, overwrite: bool) -> Iterator[TextIO]:
    """Open a new file that only its owner can read; on success it is moved to `path`.

    It is created at once, so that errors show before the user is asked anything.

    Raises:
        ConfigError: it can't be written, or `path` exists.
    """
    _require_free(path, overwrite=overwrite)
    try:
        descriptor, name = tempfile.mkstemp(".part", f"{path.name}.", path.parent)  # mode 600
        part = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                yield file
            _require_free(path, overwrite=overwrite)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}",
            "Check that its folder exists, is writable, and has free space.",
        ) from None


def config_text(new: NewConfig) -> str:
    """Return the text of the config; a key from the environment stays there."""
    keep_key = new.api_key is not None and not os.environ.get(API_KEY_VARIABLE)
    chosen = {
        "api_key": new.api_key if keep_key else PLACEHOLDER_KEY,
        "api_url": new.api_url,
        "api_port": new.api_port,
        "tags": new.tags,
    }
    return _layout({"$schema": f"./{SCHEMA_NAME}", **_starter(), **chosen}) + "\n"


def write_schema(config_path: Path) -> Path:
    """Write the JSON schema that the config names, beside it; return its path.

    Raises:
        ConfigError: it can't be written.
    """
    path = config_path.with_name(SCHEMA_NAME)
    try:
        path.write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}",
            "The config itself was written, and works without it.",
        ) from None
    return path


def _choose_client(user: User, config_path: Path) -> Config:
    """Ask for the address until a client answers there."""
    url = Config().api_url
    while True:
        answer = user.ask("Address of the Client API", url)
        try:
            config, port_is_named = _config_at(answer)
            url = config.api_url
            if not port_is_named:
                found = find_port(config, config_path)
                if found is not None:
                    user.tell(f"A Hydrus client answers on port {found}.")
                port = user.ask("Port", str(found or USUAL_PORTS[0]))
                config, _ = _config_at(url, port)
            version = version_of(config, config_path)
        except HydindexError as error:
            user.tell(f"{error.message}\n{error.remedy}")
            continue
        user.tell(f"Hydrus v{version} answers at {config.base_url}.")
        if version == VERSION_THAT_DROPS_VIDEO_PAIRS:
            user.tell(
                "This version keeps no potential duplicates between videos. Update Hydrus to v683 "
                "or later."
            )
        return config


def _config_at(address: str, port: str | None = None) -> tuple[Config, bool]:
    """Parse an address as people write it; return whether it names a port.

    Raises:
        ConfigError: it is not an address.
    """
    full = address if "://" in address else f"http://{address}"
    try:
        parts = urlsplit(full)
        if parts.port is not None:
            port = str(parts.port)
            full = parts._replace(netloc=parts.netloc.rpartition(":")[0]).geturl()
        chosen_port = int(port) if port is not None else Config().api_port
        return Config(api_url=full, api_port=chosen_port), parts.port is not None
    except ValidationError as error:
        problem = "; ".join(describe_errors(error))
    except ValueError as error:  # the port is not a number
        problem = str(error)
    raise ConfigError(
        f"This is not an address: {problem}", "Example: http://127.0.0.1, and port 45869."
    )


def _obtain_key(user: User, config: Config, config_path: Path, wait_s: float) -> str:
    """Request a key from the client, and wait until the user has approved it."""

    def ask_for_key() -> str:
        with connect(config, config_path, key=None) as client:
            return client.request_key(KEY_NAME)

    key = _retry_until(
        ask_for_key,
        while_error=HydrusDialogClosed,
        explain=lambda _error: user.tell(
            "hydindex needs an access key. In Hydrus, open\n"
            f"  {OPEN_DIALOG}\n"
            "and leave that window open: hydindex continues by itself."
        ),
        wait_s=wait_s,
        failure="The dialog for access keys was not opened in Hydrus",
    )
    wanted = " and ".join(f"'{name}'" for name in REQUIRED.values())
    user.tell(f"Hydrus now shows the requested permissions: {wanted}. Click OK there, then apply.")
    with connect(config, config_path, key=key) as client:
        _retry_until(
            lambda: client.permits(SEARCH_FILES),
            while_error=HydrusAccessDenied,
            explain=lambda _error: None,
            wait_s=wait_s,
            failure="The access key was not approved in Hydrus",
        )
        _retry_until(
            client.require_permissions,
            while_error=HydrusAccessDenied,
            explain=lambda error: user.tell(
                f"{error.message}. In Hydrus, edit the key and enable that permission."
            ),
            wait_s=wait_s,
            failure="The access key was not given the permissions it needs",
        )
    return key


def _retry_until(
    attempt: Callable[[], T],
    *,
    while_error: type[HydindexError],
    explain: Callable[[HydindexError], None],
    wait_s: float,
    failure: str,
) -> T:
    """Retry while one kind of error occurs; explain once what the user has to do.

    Raises:
        HydindexError: another error occurs, or the time is up.
    """
    ends_at = time.monotonic() + wait_s
    explained = False
    while True:
        try:
            return attempt()
        except while_error as error:
            if not explained:
                explain(error)
                explained = True
        if time.monotonic() >= ends_at:
            raise HydrusAccessDenied(
                f"{failure} within {wait_s:g} seconds",
                "No config was written. Run hydindex init again; --wait sets the time.",
            )
        time.sleep(_POLL_INTERVAL_S)


def _choose_search(user: User, client: HydrusClient) -> list[str]:
    """Ask which files to compare, until Hydrus understands the search."""
    user.tell(
        "Which files should be compared? Enter tags as in Hydrus's search box, one at a time."
    )
    while True:
        tags = [user.ask("Search", _starter()["tags"][0])]
        while more := user.ask("And (Enter to finish)", ""):
            tags.append(more)
        try:
            found = len(search(client, tags))
        except ConfigError as error:
            user.tell(error.message)
            continue
        user.tell(f"Hydrus finds {found:,} files.")
        if found or user.confirm("Use this search anyway?"):
            return tags


def _require_free(path: Path, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise ConfigError(
            f"The config {path} already exists",
            "Run hydindex check to test it, or hydindex init --overwrite to replace it.",
        )


def _starter() -> dict[str, Any]:
    text = (files("hydindex.config") / STARTER).read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(text)
    return values


def _layout(value: Any, indent: str = "") -> str:
    """Format JSON for people: short objects stay on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict) or (indent and len(flat) < _LINE_WIDTH):
        return flat
    inner = f"{indent}  "
    rows = (f"{inner}{json.dumps(key)}: {_layout(each, inner)}" for key, each in value.items())
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
