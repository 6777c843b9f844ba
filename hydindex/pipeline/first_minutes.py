"""`hydindex init`: from a Hydrus client that is running to a config that works."""

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
from hydindex.pipeline.connect import USUAL_PORTS, connect, find_port, version_of
from hydindex.pipeline.posting import VERSION_THAT_KEEPS_NO_VIDEO_PAIRS
from hydindex.pipeline.search import find

STARTER: Final = "starter_config.json"
"""What a new config begins with; it lies beside `hydindex/config.py`."""
SCHEMA_NAME: Final = "hydrus_config.schema.json"
KEY_NAME: Final = "hydindex"
"""What the access key is called in Hydrus's list of keys."""
_BETWEEN_LOOKS_S: Final = 1.0
_LINE_WIDTH: Final = 100

T = TypeVar("T")


class Person(Protocol):
    """Somebody at a terminal."""

    def tell(self, text: str) -> None:
        """Say something."""
        ...

    def ask(self, question: str, default: str) -> str:
        """Ask for a line; Enter alone gives the default."""
        ...

    def agrees(self, question: str) -> bool:
        """Ask for yes or no."""
        ...


@dataclass(frozen=True, slots=True)
class Start:
    """What a new config says of the client, and what is known of it."""

    api_url: str
    api_port: int
    tags: Sequence[str]
    api_key: str | None
    client_answers: bool


def ask_for_all(person: Person, config_path: Path, *, wait_s: float) -> Start:
    """Find the client, get a key from it, and choose the search, together with somebody.

    `wait_s` is how many seconds to wait for each thing that is to be done in Hydrus.

    Raises:
        HydindexError: there will be no key, or it is refused.
    """
    person.tell(
        f"This connects hydindex to your Hydrus client, and writes {config_path}.\n"
        "Enter takes what stands in brackets; Ctrl-C leaves, and nothing is written."
    )
    config = _choose_client(person, config_path)
    key = os.environ.get(API_KEY_VARIABLE)
    if key:
        person.tell(f"The access key is that of {API_KEY_VARIABLE}; the config will not hold it.")
    else:
        key = _obtain_key(person, config, config_path, wait_s)
    with connect(config, config_path, key=key) as client:
        client.require_permissions()
        person.tell("The key works, and permits what is needed.")
        tags = _choose_search(person, client)
    return Start(config.api_url, config.api_port, tags, key, client_answers=True)


def take_defaults(config_path: Path) -> Start:
    """Begin with the shipped values and the port where a client answers, if one does."""
    starter = Config.model_validate_json(json.dumps(_starter()))
    port = find_port(starter, config_path)
    key = os.environ.get(API_KEY_VARIABLE)
    tags = _starter()["tags"]
    found = port or starter.api_port
    return Start(starter.api_url, found, tags, key, client_answers=port is not None)


@contextmanager
def private_file(path: Path, *, overwrite: bool) -> Iterator[TextIO]:
    """Open a new file that only its owner can read, from the moment it is made.

    It takes its place at `path` as a whole, when all has gone well. Whether it can be made shows at
    once, before anybody is asked anything.

    Raises:
        ConfigError: it cannot be written, or would overwrite another.
    """
    _require_free(path, overwrite=overwrite)
    try:
        descriptor, name = tempfile.mkstemp(".part", f"{path.name}.", path.parent)  # mode 600
        half = Path(name)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
                yield file
            _require_free(path, overwrite=overwrite)
            half.replace(path)
        finally:
            half.unlink(missing_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}",
            "Is the folder there, may you write to it, and is there room?",
        ) from None


def config_text(start: Start) -> str:
    """Give the config as a file holds it; a key out of the environment is left there."""
    is_to_be_kept = start.api_key is not None and not os.environ.get(API_KEY_VARIABLE)
    chosen = {
        "api_key": start.api_key if is_to_be_kept else PLACEHOLDER_KEY,
        "api_url": start.api_url,
        "api_port": start.api_port,
        "tags": start.tags,
    }
    return _laid_out({"$schema": f"./{SCHEMA_NAME}", **_starter(), **chosen}) + "\n"


def write_schema(config_path: Path) -> Path:
    """Write the JSON schema that the config names beside it; give its path.

    Raises:
        ConfigError: it cannot be written.
    """
    path = config_path.with_name(SCHEMA_NAME)
    try:
        path.write_text(json.dumps(json_schema(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error}", "The config itself is written; it does without."
        ) from None
    return path


def _choose_client(person: Person, config_path: Path) -> Config:
    """Ask where the client is until one answers there; Ctrl-C ends that."""
    url = Config().api_url
    while True:
        answer = person.ask("Address of the Client API", url)
        try:
            config, port_is_named = _config_at(answer)
            url = config.api_url
            if not port_is_named:
                found = find_port(config, config_path)
                if found is not None:
                    person.tell(f"A Hydrus client answers on port {found}.")
                port = person.ask("Port", str(found or USUAL_PORTS[0]))
                config, _ = _config_at(url, port)
            version = version_of(config, config_path)
        except HydindexError as error:
            person.tell(f"{error.message}\n{error.remedy}")
            continue
        person.tell(f"Hydrus v{version} answers at {config.base_url}.")
        if version == VERSION_THAT_KEEPS_NO_VIDEO_PAIRS:
            person.tell(
                "This version keeps no potential duplicates between videos: update Hydrus to v683 "
                "or later, before you expect pairs there."
            )
        return config


def _config_at(address: str, port: str | None = None) -> tuple[Config, bool]:
    """Read an address as people write it, and tell whether it names a port.

    Raises:
        ConfigError: it is none.
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
    except ValueError as error:  # a port that is no number
        problem = str(error)
    raise ConfigError(f"That is no address: {problem}", "Such as http://127.0.0.1, and 45869.")


def _obtain_key(person: Person, config: Config, config_path: Path, wait_s: float) -> str:
    """Ask the client for a key, and wait until the user has approved it there."""

    def ask_for_key() -> str:
        with connect(config, config_path, key=None) as client:
            return client.request_key(KEY_NAME)

    key = _waited_for(
        ask_for_key,
        until_not=HydrusDialogClosed,
        meanwhile=lambda _error: person.tell(
            "hydindex needs an access key. In Hydrus, open\n"
            f"  {OPEN_DIALOG}\n"
            "and leave that window open: hydindex sees it, and goes on by itself."
        ),
        wait_s=wait_s,
        in_vain="The dialog for access keys was not opened in Hydrus",
    )
    wanted = " and ".join(f"'{name}'" for name in REQUIRED.values())
    person.tell(f"Hydrus shows what hydindex asks for: {wanted}. Click OK there, then apply.")
    with connect(config, config_path, key=key) as client:
        _waited_for(
            lambda: client.permits(SEARCH_FILES),
            until_not=HydrusAccessDenied,
            meanwhile=lambda _error: None,
            wait_s=wait_s,
            in_vain="The access key was not approved in Hydrus",
        )
        _waited_for(
            client.require_permissions,
            until_not=HydrusAccessDenied,
            meanwhile=lambda error: person.tell(
                f"{error.message}. In Hydrus, choose the key in the list, edit it, and tick that."
            ),
            wait_s=wait_s,
            in_vain="The access key was not given what it needs",
        )
    return key


def _waited_for(
    attempt: Callable[[], T],
    *,
    until_not: type[HydindexError],
    meanwhile: Callable[[HydindexError], None],
    wait_s: float,
    in_vain: str,
) -> T:
    """Try again and again, while it fails in one way; say once what the user has to do.

    Raises:
        HydindexError: it fails in another way, or for too long.
    """
    ends_at = time.monotonic() + wait_s
    is_told = False
    while True:
        try:
            return attempt()
        except until_not as error:
            if not is_told:
                meanwhile(error)
                is_told = True
        if time.monotonic() >= ends_at:
            raise HydrusAccessDenied(
                f"{in_vain} within {wait_s:g} seconds",
                "No config was written. Run hydindex init again; --wait gives you more time.",
            )
        time.sleep(_BETWEEN_LOOKS_S)


def _choose_search(person: Person, client: HydrusClient) -> list[str]:
    """Ask which files to compare, until Hydrus understands it."""
    person.tell("Which files shall be compared? As in Hydrus's search box, one tag at a time.")
    while True:
        tags = [person.ask("Search", _starter()["tags"][0])]
        while more := person.ask("and (Enter: no more)", ""):
            tags.append(more)
        try:
            found = len(find(client, tags))
        except ConfigError as error:
            person.tell(error.message)
            continue
        person.tell(f"Hydrus finds {found:,} files.")
        if found or person.agrees("Take this search all the same?"):
            return tags


def _require_free(path: Path, *, overwrite: bool) -> None:
    if path.exists() and not overwrite:
        raise ConfigError(
            f"There is a config at {path} already",
            "hydindex check tells whether it works; hydindex init --overwrite writes a new one in "
            "its place.",
        )


def _starter() -> dict[str, Any]:
    text = (files("hydindex.config") / STARTER).read_text(encoding="utf-8")
    values: dict[str, Any] = json.loads(text)
    return values


def _laid_out(value: Any, indent: str = "") -> str:
    """Write JSON for people: an object stays in one line as long as that is short."""
    flat = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, dict) or (indent and len(flat) < _LINE_WIDTH):
        return flat
    inner = f"{indent}  "
    rows = (f"{inner}{json.dumps(key)}: {_laid_out(each, inner)}" for key, each in value.items())
    return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
