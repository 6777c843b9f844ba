"""`hydindex pairs`: list pairs and their states."""

import csv
import sys
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from hydindex.commands.options import DEFAULT_CONFIG, AsJson, ConfigPath, MinScore, States
from hydindex.commands.session import open_session
from hydindex.common.errors import ConfigError

if TYPE_CHECKING:
    from hydindex.commands.console import Console
    from hydindex.records.pairs import FilePair
    from hydindex.store.pair_list import ListedPair

_CSV_NAMES: Final = (
    *("sha256_a", "sha256_b", "score", "state", "held_back", "decision", "matches", "state_at"),
)


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
    from hydindex.pipeline.shared_pictures import files_with_shared_picture
    from hydindex.store.store import open_for_reading

    if as_json and as_csv:
        raise ConfigError("--json and --csv cannot be combined", "Use one of them.")
    session = open_session(config_path, as_json=as_json)
    with open_for_reading(session.index_path) as store:
        listed = store.pairs.highest_scores(states or (), min_score)
        held_back = set(store.shared_pictures.pairs(files_with_shared_picture(store)))
    show_pairs(session.console, listed, held_back, as_csv=as_csv)


def show_pairs(
    console: "Console",
    pairs: "Sequence[ListedPair]",
    held_back: "Collection[FilePair]",
    *,
    as_csv: bool,
) -> None:
    """Show pairs as a table, JSON or CSV.

    `score`: the probability, or the similarity with the method `threshold`. `state`: queued,
    sending, posted, known (Hydrus had it already) or refused (for a `reason`), since `state_at`.
    `held_back`: true if it is not posted because many files share its picture. `decision`: yours in
    Hydrus: duplicate, alternate, false_positive, or null. `matches`: false if the pair was posted
    under an earlier config and no longer matches. `features`: what the probability was computed
    from; null with the method `threshold`.
    """
    rows = [
        {
            "sha256_a": each.sha256_low,
            "sha256_b": each.sha256_high,
            "score": each.score,
            "state": each.state,
            "held_back": each.pair in held_back,
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
        writer = csv.DictWriter(sys.stdout, _CSV_NAMES, extrasaction="ignore", lineterminator="\n")
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
                _remark(each, is_held_back=each.pair in held_back),
            )
            for each in pairs
        ],
    )
    if not pairs:
        console.print("No pairs.")


def _remark(pair: "ListedPair", *, is_held_back: bool) -> str:
    remarks = [pair.reason, "shared picture" if is_held_back else None]
    if not pair.matches:
        remarks.append("no longer matches")
    return "; ".join(filter(None, remarks))
