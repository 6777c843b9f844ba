"""Ask Hydrus what the user decided about posted pairs: some of the open ones each night."""

import logging
from typing import Final

from hydindex.hydrus.client import HydrusClient
from hydindex.pipeline.run_report import RunReport, Steps
from hydindex.store.store import Store

log = logging.getLogger(__name__)

# At most four requests. Users decide fewer pairs in a day.
PAIRS_PER_RUN: Final = 500


def record_decisions(store: Store, client: HydrusClient) -> Steps:
    """Record the user's decisions, starting with the pairs not checked for the longest time.

    A recorded decision is never checked again.
    """
    pairs = store.decisions.least_recently_checked(PAIRS_PER_RUN)
    if not pairs:
        return
    hashes = {sha256 for each in pairs for sha256 in (each.sha256_low, each.sha256_high)}
    relationships = client.relationships(hashes)
    decisions = {
        each.pair: relationships.decision(each.sha256_low, each.sha256_high) for each in pairs
    }
    store.decisions.record(decisions)
    decided = [decision for decision in decisions.values() if decision is not None]
    if decided:
        wrong = sum(not decision.is_right for decision in decided)
        log.info("you decided %d posted pairs, %d of them false positives", len(decided), wrong)
    yield RunReport()
