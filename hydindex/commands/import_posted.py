"""`hydindex import-posted`: import the record of posted pairs from another index."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from hydindex.commands.options import DEFAULT_CONFIG, ConfigPath
from hydindex.commands.session import open_session
from hydindex.common.errors import ConfigError


def import_posted(
    input_path: Annotated[
        Path, typer.Argument(metavar="FILE", help="File from export-posted; - for stdin.")
    ],
    config_path: ConfigPath = DEFAULT_CONFIG,
) -> None:
    """Import a record of posted pairs.

    Imports the record of posted pairs from another index. This index never posts these pairs again.

    Example: hydindex import-posted posted.jsonl
    """
    from hydindex.commands.posted_lines import from_lines
    from hydindex.store.store import open_for_writing

    session = open_session(config_path)
    try:
        # Editors on Windows may put a byte order mark first.
        text = sys.stdin.read() if str(input_path) == "-" else input_path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{input_path} cannot be read: {error}",
            "Name a file written by hydindex export-posted --output.",
        ) from None
    pairs = from_lines(text.splitlines())
    with open_for_writing(session.index_path, "import-posted") as store:
        before = store.posted.count()
        store.posted.add(pairs)
        new = store.posted.count() - before
    print(f"{len(pairs):,} pairs read; {new:,} of them are new to {session.index_path}")
