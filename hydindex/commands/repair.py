"""`hydindex repair`: recover a damaged index."""

import logging
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from hydindex.commands.options import DEFAULT_CONFIG, AsJson, ConfigPath
from hydindex.commands.session import open_session
from hydindex.common.errors import ExitCode

if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.store.repair import Repaired

log = logging.getLogger(__name__)


def repair(config_path: ConfigPath = DEFAULT_CONFIG, as_json: AsJson = False) -> None:
    """Recover a damaged index.

    Recovers the record of posted pairs and the thumbnails; the next update fetches what is missing
    and compares all files again. Leaves an undamaged index unchanged.

    Example: hydindex repair
    """
    from hydindex.store.repair import repair as repair_index

    session = open_session(config_path, as_json=as_json)
    raise typer.Exit(show_repair(session.console, repair_index(session.index_path)))


def show_repair(console: "Console", repaired: "Repaired | None") -> ExitCode:
    """Show what was recovered, and return the exit code.

    `recovered` is null if the index is undamaged. Otherwise it counts `posted_pairs` and `files`;
    `record_is_complete` says whether all posted pairs could be read, and `damaged` where the
    damaged file is now.
    """
    complete = repaired is None or repaired.record_is_complete
    exit_code = ExitCode.DONE if complete else ExitCode.PARTLY_DONE
    recovered = None if repaired is None else {**asdict(repaired), "damaged": str(repaired.damaged)}
    console.print_json("repair", exit_code, recovered=recovered)
    if repaired is None:
        console.print("The index is not damaged: there is nothing to repair.")
        return exit_code
    if not complete:
        log.warning(
            "Only part of the record of posted pairs could be read. Updates ask Hydrus about every "
            "pair before they post it, but pairs that you removed in Hydrus may be posted once "
            "more. If you have another copy of the index or of the record, run hydindex "
            "import-posted first."
        )
    console.table(
        "Recovered from the damaged index",
        {"posted pairs": repaired.posted_pairs, "files with thumbnails": repaired.files},
    )
    console.print("The next update fetches what is missing and compares all files again.")
    console.print(f"Delete {repaired.damaged}, the damaged file, once the new index works.")
    return exit_code
