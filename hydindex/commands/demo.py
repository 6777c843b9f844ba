"""`hydindex demo`: show everything without a Hydrus client."""

from pathlib import Path
from typing import Annotated

import typer


def demo(
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="A library to serve (files.json and thumbs/), or an empty folder for the demo's "
            "config and index. [default: a generated library in a temporary folder]",
        ),
    ] = None,
    stay: Annotated[
        bool, typer.Option("--stay", help="Keep the stand-in running until Ctrl-C.")
    ] = False,
) -> None:
    """Run three updates against a stand-in client.

    Example: hydindex demo
    """
    from hydindex.demo.tour import run_demo

    run_demo(folder, stay=stay)
