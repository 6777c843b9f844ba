"""`hydindex init`: write a config for a running client."""

import os
import shlex
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from hydindex.commands.options import DEFAULT_CONFIG, ConfigPath
from hydindex.common.errors import Interrupted

if TYPE_CHECKING:
    from hydindex.commands.init_dialog import NewConfig


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
            help="How long to wait for each step in Hydrus, in seconds.",
        ),
    ] = 300,
) -> None:
    """Find the client and write a config.

    Gets an access key from the client. Without a terminal, it asks no questions: it writes the
    defaults and lists what is left to do.

    Example: hydindex init --config ~/hydrus/hydrus_config.json
    """
    from hydindex.commands import init_dialog
    from hydindex.commands.console import Console

    console = Console(log_level=0, as_json=False, quiet=False, show_progress=False)
    try:
        with init_dialog.private_file(config_path, overwrite=overwrite) as file:
            if console.is_interactive:
                new = init_dialog.ask_user(console, config_path, wait_s=wait_s)
            else:
                new = init_dialog.defaults(config_path)
            file.write(init_dialog.config_text(new))
    except (KeyboardInterrupt, typer.Abort):
        raise Interrupted("no config was written", "Run hydindex init again.") from None
    schema_path = init_dialog.write_schema(config_path)

    readers = ", readable only by you" if os.name == "posix" else ""
    console.print(f"Written: {config_path}{readers}")
    console.print(f"         {schema_path}, which lets editors explain every key")
    console.print()
    option = "" if config_path == DEFAULT_CONFIG else f" --config {shlex.quote(str(config_path))}"
    steps = list(_open_steps(new, option))
    if steps:
        console.print("To do:")
        for step in steps:
            console.print(f"  - {step}")
        console.print("Then:")
    else:
        console.print("Next:")
    console.print(f"  hydindex check{option}")
    console.print(f"  hydindex update --dry-run{option}")


def _open_steps(new: "NewConfig", option: str) -> Iterator[str]:
    """Yield what the user must do before the config works."""
    from hydindex.commands.connection import USUAL_PORTS
    from hydindex.config.settings import API_KEY_VARIABLE
    from hydindex.hydrus.permissions import OPEN_DIALOG

    if not new.client_answers:
        ports = " or ".join(str(port) for port in USUAL_PORTS)
        yield (
            f"No Hydrus client answers at {new.api_url} on port {ports}. Start it, enable its "
            "Client API (services > manage services > client api), and set api_url and api_port."
        )
    if new.api_key is None:
        yield (
            f"There is no access key yet. Run hydindex init --overwrite{option} in a terminal to "
            f"get one from the client ({OPEN_DIALOG}), or set api_key or {API_KEY_VARIABLE}."
        )
    elif os.environ.get(API_KEY_VARIABLE):
        yield f"The key is not in the config: set {API_KEY_VARIABLE} wherever hydindex runs."
