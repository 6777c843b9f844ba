"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from hydindex.records.pair_states import PairState

DEFAULT_CONFIG = Path("hydrus_config.json")

ConfigPath = Annotated[
    Path,
    typer.Option("--config", metavar="FILE", envvar="HYDINDEX_CONFIG", help="Config file."),
]
WaitForClient = Annotated[
    float,
    typer.Option(
        "--wait-for-client",
        metavar="MINUTES",
        min=0.0,
        help="Wait up to this many minutes for Hydrus.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")]
Verbose = Annotated[
    bool, typer.Option("-v", "--verbose", help="Log every score and show tracebacks.")
]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Print only warnings and errors.")]
States = Annotated[
    list[PairState] | None,
    typer.Option(
        "--state",
        metavar="STATE",
        help="Only pairs in this state: queued, sending, posted, known or refused. Repeatable. "
        "[default: all]",
        show_default=False,
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        metavar="SCORE",
        min=0.0,
        max=1.0,
        help="Only pairs with at least this score. [default: all]",
        show_default=False,
    ),
]
