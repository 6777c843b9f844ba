"""`hydindex pairs`: list pairs and their states."""

import csv
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from hydindex.commands.options import DEFAULT_CONFIG, AsJson, ConfigPath, MinScore, States
from hydindex.commands.session import open_session
from hydindex.common.errors import ConfigError

if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.store.pair_list import ListedPair


def pairs(
    config_path: ConfigPath = DEFAULT_CONFIG,
    states: States = None,
    min_score: MinScore = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
) -> None:
    """List pairs and their states.

    The highest scores come first. Also shows your decisions in Hydrus.

    Example: hydindex pairs --state posted --min-score 0.9
    """
    from hydindex.store.store import open_for_reading

    if as_json and as_csv:
        raise ConfigError("--json and --csv cannot be combined", "Use one of them.")
    session = open_session(config_path, as_json=as_json)
    with open_for_reading(session.index_path) as store:
        listed = store.pairs.highest_scores(states or (), min_score)
    show_pairs(session.console, listed, as_csv=as_csv)


def show_pairs(console: "Console", pairs: "Sequence[ListedPair]", *, as_csv: bool) -> None:
    """Show pairs as a table, JSON or CSV.

    `score`: the probability, or the similarity with the method `threshold`. `state`: queued,
    sending, posted, known (Hydrus had it already) or refused (for a `reason`), since `state_at`.
    `decision`: yours in Hydrus: duplicate, alternate, false_positive, or null. `matches`: false if
    the pair was posted under an earlier config and no longer matches. `features`: what the
    probability was computed from; null with the method `threshold`.
    """
    rows = [
        {
            "sha256_a": each.sha256_low,
            "sha256_b": each.sha256_high,
            "score": each.score,
            "state": each.state,
            "decision": each.decision,
            "matches": each.matches,
            "state_at": each.state_at,
            "reason": each.reason,
            "features": each.features,
        }
        for each in pairs
    ]
    console.print_json("pairs", pairs=rows)
    if as_csv:
        names = ("sha256_a", "sha256_b", "score", "state", "decision", "matches", "state_at")
        writer = csv.DictWriter(sys.stdout, names, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    console.columns(
        f"{len(pairs):,} pairs, highest score first",
        ("score", "state", "decision", "SHA-256", "SHA-256", "remark"),
        [
            (
                f"{each.score:.4f}",
                each.state,
                (each.decision or "open").replace("_", " "),
                each.sha256_low,
                each.sha256_high,
                each.reason or ("" if each.matches else "no longer matches"),
            )
            for each in pairs
        ],
    )
    if not pairs:
        console.print("No pairs.")
