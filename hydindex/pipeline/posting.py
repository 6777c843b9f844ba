"""Empties the outbox: posts each waiting pair to Hydrus, and reads back what became of it.

A pair is marked as sending, and that mark is on disk, before it is sent. Whatever happens then,
it is only sent again after the relationships in Hydrus, read back, show that it is not there.
"""

import logging
import time
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import Final

from hydindex.common.errors import HydrusRejected, HydrusUnreachable
from hydindex.config.settings import Config
from hydindex.hydrus.client import HydrusClient
from hydindex.matching.spanning_forest import spanning
from hydindex.pipeline.run_report import Progress, Report
from hydindex.records.pairs import FilePair, OutboxPair, PairState
from hydindex.store.store import Store

log = logging.getLogger(__name__)

# v682 answers 200 to potentials between videos and keeps none of them; v683 mended that.
VERSION_THAT_KEEPS_NO_VIDEO_PAIRS: Final = 682


class Poster:
    """Posts pairs in batches, through one client, for one run."""

    def __init__(self, index: Store, client: HydrusClient, config: Config, report: Report) -> None:
        self._outbox = index.outbox
        self._decisions = index.decisions
        self._client = client
        self._settings = config.post
        self._report = report
        self._refused: set[FilePair] = set()

    def settle_interrupted(self, *, dry_run: bool) -> None:
        """Find out what became of pairs that an earlier run was sending when it ended.

        What Hydrus has is posted; the rest never arrived, and waits in the queue again.
        """
        interrupted = self._outbox.sending()
        if not interrupted:
            return
        arrived = 0
        for batch in self._batches(interrupted):
            missing = self._settle_related(batch)
            self._outbox.queue_again(missing)
            arrived += len(batch) - len(missing)
        log.info("of %d pairs cut short while sent, %d had arrived", len(interrupted), arrived)
        if not dry_run:
            self._report.pairs.posted += arrived

    def post_waiting(self, progress: Progress, *, dry_run: bool) -> None:
        """Post the pairs that wait, as far as the config lets them go; what was refused, not again.

        In a dry run, only find out which of them Hydrus knows already.
        """
        sendable = [each for each in self._outbox.sendable() if each.pair not in self._refused]
        waiting = self._let_go(sendable)
        posted = self._post_each(waiting, dry_run=dry_run)
        for _ in progress(posted, stage="Posting", total=len(waiting), unit="pair"):
            pass
        self._report.pairs.queued = self._outbox.count_sendable() - self._report.pairs.refused

    def _let_go(self, waiting: Sequence[OutboxPair]) -> Sequence[OutboxPair]:
        """Keep back the pairs that are too doubtful, and those that follow from the others."""
        kept_back = self._report.kept_back
        least = self._settings.min_probability_to_post
        likely = [item for item in waiting if item.score >= least]
        kept_back.doubtful = len(waiting) - len(likely)
        if self._settings.pairs == "all" or not likely:
            return likely
        needed = spanning([item.pair for item in likely], self._decisions.joined())
        chosen = list(compress(likely, needed))
        kept_back.implied = len(likely) - len(chosen)
        return chosen

    def _post_each(self, waiting: Sequence[OutboxPair], *, dry_run: bool) -> Iterator[OutboxPair]:
        """Post pairs, in the order in which they wait, until one run has posted its most."""
        most = self._settings.max_per_run
        room = len(waiting) if most is None else max(0, most - self._report.pairs.posted)
        passed = 0
        for batch in self._batches(waiting):
            unknown = self._set_known_aside(batch)
            now = unknown[:room]
            before = self._report.pairs.posted
            if dry_run:
                self._announce(now)
            elif now:
                self._outbox.move(now, PairState.SENDING)
                self._send(now)
            room -= len(now) if dry_run else self._report.pairs.posted - before
            passed += len(batch) - len(unknown[len(now) :])
            yield from batch
            if not room:
                break
        self._report.kept_back.later = len(waiting) - passed

    def _set_known_aside(self, batch: Sequence[OutboxPair]) -> list[OutboxPair]:
        """Move the pairs that Hydrus relates in any way to `known`, and give the rest."""
        related, unrelated = self._look_up(batch)
        self._outbox.move(related, PairState.KNOWN)
        self._report.pairs.known += len(related)
        return unrelated

    def _announce(self, batch: Sequence[OutboxPair]) -> None:
        for item in batch:
            log.debug("would post %.4f: %s %s", item.score, item.sha256_low, item.sha256_high)

    def _send(self, batch: Sequence[OutboxPair]) -> None:
        """Send pairs that are marked as sending, and settle what becomes of each.

        Raises:
            HydrusUnreachable: no try was answered; the pairs stay marked, for the next run.
        """
        for tries_left in range(self._settings.max_retries, -1, -1):
            try:
                self._client.post_potentials(
                    [(item.sha256_low, item.sha256_high) for item in batch],
                    merge=self._settings.do_default_merge,
                )
            except HydrusRejected as error:
                self._find_the_rejected(batch, error)
                return
            except HydrusUnreachable:
                # The work may be done all the same: only what is not there is sent again.
                sent, batch = batch, self._settle_related(batch)
                self._report.pairs.posted += len(sent) - len(batch)
                if not batch:
                    return
                if not tries_left:
                    raise
                time.sleep(self._settings.retry_pause_s)
            else:
                self._settle(batch)
                return

    def _find_the_rejected(self, batch: Sequence[OutboxPair], error: HydrusRejected) -> None:
        """Send a rejected batch, of which Hydrus wrote nothing, in halves: one row is to blame."""
        if len(batch) == 1:
            self._refuse(batch, error.message)
            return
        middle = len(batch) // 2
        self._send(batch[:middle])
        self._send(batch[middle:])

    def _settle(self, batch: Sequence[OutboxPair]) -> None:
        """Read back pairs whose sending is over: those that are there are posted, for ever."""
        missing = self._settle_related(batch)
        self._report.pairs.posted += len(batch) - len(missing)
        self._refuse(missing, "Hydrus answered, but did not keep it")

    def _settle_related(self, batch: Sequence[OutboxPair]) -> list[OutboxPair]:
        """Read back pairs; move those that are there to `posted`, and give the rest."""
        related, unrelated = self._look_up(batch)
        self._outbox.move(related, PairState.POSTED)
        return unrelated

    def _refuse(self, batch: Sequence[OutboxPair], reason: str) -> None:
        self._outbox.move(batch, PairState.REFUSED, reason=reason)
        self._refused.update(item.pair for item in batch)
        self._report.pairs.refused += len(batch)
        for item in batch:
            log.info("refused: %s %s: %s", item.sha256_low, item.sha256_high, reason)

    def _look_up(self, batch: Sequence[OutboxPair]) -> tuple[list[OutboxPair], list[OutboxPair]]:
        """Ask Hydrus which pairs it relates in any way; give those, and the others."""
        if not batch:
            return [], []
        hashes = {sha256 for item in batch for sha256 in (item.sha256_low, item.sha256_high)}
        relationships = self._client.relationships(hashes)
        related: list[OutboxPair] = []
        unrelated: list[OutboxPair] = []
        for item in batch:
            is_related = relationships.related(item.sha256_low, item.sha256_high)
            (related if is_related else unrelated).append(item)
        return related, unrelated

    def _batches(self, pairs: Sequence[OutboxPair]) -> Iterator[Sequence[OutboxPair]]:
        size = self._settings.batch_size
        for start in range(0, len(pairs), size):
            yield pairs[start : start + size]


def refusal_hint(hydrus_version: int) -> str:
    """Say why Hydrus may have refused pairs that it was right to be sent."""
    if hydrus_version == VERSION_THAT_KEEPS_NO_VIDEO_PAIRS:
        return (
            "This is Hydrus v682, which keeps no potential duplicates between videos. "
            "Update Hydrus to v683 or later; the pairs wait in the queue."
        )
    return "They wait in the queue; the next run tries them again."
