"""`hydindex export-posted`: export the record of posted pairs."""

from pathlib import Path
from typing import Annotated

import typer

from hydindex.commands.options import DEFAULT_CONFIG, ConfigPath
from hydindex.commands.output_files import replaced_file
from hydindex.commands.session import open_session


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
    """Export the record of posted pairs.

    The file (JSON lines) is for import-posted on another machine.

    Example: hydindex export-posted --output posted.jsonl
    """
    from hydindex.commands.posted_lines import to_lines
    from hydindex.store.store import open_for_reading

    session = open_session(config_path)
    with open_for_reading(session.index_path) as store:
        lines = to_lines(store.posted.pairs())
        if output_path is None:
            for line in lines:
                print(line)
        else:
            with replaced_file(output_path) as file:
                file.writelines(f"{line}\n" for line in lines)
