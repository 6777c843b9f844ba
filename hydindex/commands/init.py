"""`hydindex init`: write a config for a running client."""

import json
import os
import shlex
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from hydindex.commands.options import DEFAULT_CONFIG, ConfigPath
from hydindex.common.errors import ConfigError, Interrupted

if TYPE_CHECKING:
    from hydindex.config.settings import Config


def init(
    config_path: ConfigPath = DEFAULT_CONFIG,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an existing config.")
    ] = False,
    wait_s: Annotated[
        float,
        typer.Option(
            "--wait",
            metavar="SECONDS",
            min=0.0,
            help="Wait up to this many seconds for each step in Hydrus.",
        ),
    ] = 300,
) -> None:
    """Find the client and write a config.

    Gets an access key from the client. Without a terminal, it asks no questions: it writes the
    defaults and lists what is left to do.

    Example: hydindex init --config ~/hydrus/hydrus_config.json
    """
    from importlib.resources import files

    from hydindex.commands.connection import find_port
    from hydindex.commands.init_dialog import ask_user
    from hydindex.commands.output_files import replaced_file
    from hydindex.config.settings import Config, json_schema

    if config_path.exists() and not overwrite:
        raise ConfigError(
            f"The config {config_path} already exists",
            "Run hydindex check to test it, or hydindex init --overwrite to replace it.",
        )
    starter_text = (files("hydindex.config") / "starter_config.json").read_text(encoding="utf-8")
    config = Config.model_validate_json(starter_text)
    schema_path = config_path.with_name("hydrus_config.schema.json")
    client_answers = True
    try:
        # Opened before the dialog, so that errors show before the user is asked anything.
        with replaced_file(config_path, mode=0o600) as file:
            if sys.stdin is not None and sys.stdin.isatty():
                config = ask_user(config, config_path, wait_s=wait_s)
            elif port := find_port(config, config_path):
                config = config.model_copy(update={"api_port": port})
            else:
                client_answers = False
            chosen = config.model_dump(include={"api_key", "api_url", "api_port", "tags"})
            values = {"$schema": f"./{schema_path.name}", **json.loads(starter_text), **chosen}
            file.write(json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    except (KeyboardInterrupt, typer.Abort):
        raise Interrupted("no config was written", "Run hydindex init again.") from None
    with replaced_file(schema_path) as file:
        file.write(json.dumps(json_schema(), indent=2) + "\n")

    readers = ", readable only by you" if os.name == "posix" else ""
    print(f"Written: {config_path}{readers}")
    print(f"         {schema_path}, which lets editors explain every key\n")
    option = "" if config_path == DEFAULT_CONFIG else f" --config {shlex.quote(str(config_path))}"
    print("To do:")
    for step in _next_steps(config, option, client_answers=client_answers):
        print(f"  - {step}")


def _next_steps(config: "Config", option: str, *, client_answers: bool) -> Iterator[str]:
    """Yield what the user has to do next."""
    from hydindex.commands.connection import USUAL_PORTS
    from hydindex.config.settings import API_KEY_VARIABLE, PLACEHOLDER_KEY
    from hydindex.hydrus.permissions import OPEN_DIALOG

    if not client_answers:
        ports = " or ".join(str(port) for port in USUAL_PORTS)
        yield (
            f"No Hydrus client answers at {config.api_url} on port {ports}. Start it, enable its "
            "Client API (services > manage services > client api), and set api_url and api_port."
        )
    if os.environ.get(API_KEY_VARIABLE):
        yield f"The key is not in the config: set {API_KEY_VARIABLE} wherever hydindex runs."
    elif config.api_key == PLACEHOLDER_KEY:
        yield (
            f"There is no access key yet. Run hydindex init --overwrite{option} in a terminal to "
            f"get one from the client ({OPEN_DIALOG}), or set api_key or {API_KEY_VARIABLE}."
        )
    yield f"Test the config: hydindex check{option}"
    yield f"See what would be posted: hydindex update --dry-run{option}"
