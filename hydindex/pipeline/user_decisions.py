"""Asks Hydrus what became of posted pairs: a part of those that are open, every night."""

import logging
from typing import Final

from hydindex.hydrus.client import HydrusClient
from hydindex.store.store import Store

log = logging.getLogger(__name__)

# Four requests at most. A user decides about fewer in a day.
PAIRS_A_RUN: Final = 500


def note_decisions(index: Store, client: HydrusClient) -> None:
    """Note what the user has decided, of the pairs that were not asked about for longest.

    What is decided once is not asked for again.
    """
    pairs = index.decisions.open_longest(PAIRS_A_RUN)
    if not pairs:
        return
    hashes = {sha256 for each in pairs for sha256 in (each.sha256_low, each.sha256_high)}
    relationships = client.relationships(hashes)
    outcomes = {
        each.pair: relationships.outcome(each.sha256_low, each.sha256_high) for each in pairs
    }
    index.decisions.note(outcomes)
    decided = [outcome for outcome in outcomes.values() if outcome is not None]
    if decided:
        wrong = sum(not outcome.is_right for outcome in decided)
        log.info("you have decided %d posted pairs, %d of them wrong", len(decided), wrong)
