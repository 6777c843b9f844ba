"""Carry out a posting plan: post each pair to Hydrus and read back what became of it.

A pair is marked as *sending*, and that mark is on disk, before it is sent. Whatever happens then,
it is sent again only after Hydrus's relationships, read back, show that it is not there.
"""

import logging
import time
from collections.abc import Generator, Sequence
from typing import Final

from hydindex.common.batches import batched
from hydindex.common.errors import HydrusRejected, HydrusUnreachable
from hydindex.config.sections import Post
from hydindex.hydrus.client import HydrusClient
from hydindex.pipeline.posting_plan import PostingPlan
from hydindex.pipeline.run_report import HeldBackCounts, PairCounts, RunReport
from hydindex.records.pair_states import Event
from hydindex.records.pairs import FilePair, OutboxPair
from hydindex.store.store import Store

log = logging.getLogger(__name__)

# v682 answers 200 to potentials between videos and keeps none of them; v683 fixed that.
VERSION_THAT_DROPS_VIDEO_PAIRS: Final = 682

Steps = Generator[RunReport, None, None]


class Poster:
    """Posts pairs through one client, for one run."""

    def __init__(self, store: Store, client: HydrusClient, settings: Post) -> None:
        self._outbox = store.outbox
        self._client = client
        self._settings = settings
        self.posted = 0
        """How many pairs this run has posted."""
        self.refused: set[FilePair] = set()
        """Pairs that Hydrus refused in this run; only the next run tries them again."""

    def settle_interrupted(self, *, dry_run: bool) -> Steps:
        """Read back the pairs that an earlier run was sending when it ended.

        Those that Hydrus has are posted; the others never arrived and are queued again. A dry run
        does the same, but doesn't count them.
        """
        interrupted = self._outbox.sending()
        arrived = 0
        for batch in batched(interrupted, self._settings.batch_size):
            missing = self._confirm_posted(batch)
            self._outbox.apply(Event.LOSE, missing)
            arrived += len(batch) - len(missing)
            if not dry_run:
                yield self._count(posted=len(batch) - len(missing))
        if interrupted:
            log.info("of %d interrupted posts, %d had arrived", len(interrupted), arrived)

    def carry_out(
        self, plan: PostingPlan, *, dry_run: bool
    ) -> Generator[RunReport, None, HeldBackCounts]:
        """Post the pairs of a plan in order, until its limit is reached; return what is held back.

        A dry run logs them instead, and changes nothing in Hydrus.
        """
        remaining = len(plan.pairs) if plan.max_posts is None else plan.max_posts
        handled = 0
        for batch in batched(plan.pairs, self._settings.batch_size):
            if remaining == 0:
                break
            unknown = yield from self._set_known_aside(batch)
            handled += len(batch) - len(unknown)
            # Refused pairs don't count: others take their places, from the same batch first.
            while unknown and remaining:
                chosen, unknown = unknown[:remaining], unknown[remaining:]
                handled += len(chosen)
                if dry_run:
                    remaining -= len(chosen)
                    _log_dry_run(chosen)
                    continue
                for step in self._send_marked(chosen):
                    remaining -= step.pairs.posted
                    yield step
        over_limit = len(plan.pairs) - handled
        return plan.held_back + HeldBackCounts(over_limit=over_limit)

    def _set_known_aside(
        self, batch: Sequence[OutboxPair]
    ) -> Generator[RunReport, None, list[OutboxPair]]:
        """Move the pairs that Hydrus relates in any way to *known*; return the others."""
        related, unrelated = self._look_up(batch)
        self._outbox.apply(Event.FIND_KNOWN, related)
        yield RunReport(pairs=PairCounts(known=len(related)))
        return unrelated

    def _send_marked(self, batch: Sequence[OutboxPair]) -> Steps:
        """Mark pairs as sending, then send them."""
        self._outbox.apply(Event.SEND, batch)
        yield from self._send(batch)

    def _send(self, batch: Sequence[OutboxPair]) -> Steps:
        """Send pairs that are marked as sending, and settle each.

        Raises:
            HydrusUnreachable: no try was answered; the pairs stay marked for the next run.
        """
        for tries_left in range(self._settings.max_retries, -1, -1):
            try:
                self._client.post_potentials(
                    [(item.sha256_low, item.sha256_high) for item in batch],
                    merge=self._settings.do_default_merge,
                )
            except HydrusRejected as error:
                yield from self._isolate_rejected(batch, error)
                return
            except HydrusUnreachable:
                # Hydrus may have done it all the same: send only what is not there.
                sent, batch = batch, self._confirm_posted(batch)
                yield self._count(posted=len(sent) - len(batch))
                if not batch:
                    return
                if not tries_left:
                    raise
                time.sleep(self._settings.retry_pause_s)
            else:
                missing = self._confirm_posted(batch)
                yield self._count(posted=len(batch) - len(missing))
                yield self._refuse(missing, "Hydrus answered, but did not keep it")
                return

    def _isolate_rejected(self, batch: Sequence[OutboxPair], error: HydrusRejected) -> Steps:
        """Send a rejected batch in halves: Hydrus rejects a whole request for one bad row."""
        if len(batch) == 1:
            yield self._refuse(batch, error.message)
            return
        middle = len(batch) // 2
        yield from self._send(batch[:middle])
        yield from self._send(batch[middle:])

    def _confirm_posted(self, batch: Sequence[OutboxPair]) -> list[OutboxPair]:
        """Read back pairs; move those that are there to *posted*, and return the others."""
        related, unrelated = self._look_up(batch)
        self._outbox.apply(Event.CONFIRM, related)
        return unrelated

    def _refuse(self, batch: Sequence[OutboxPair], reason: str) -> RunReport:
        self._outbox.apply(Event.REFUSE, batch, reason=reason)
        self.refused.update(item.pair for item in batch)
        for item in batch:
            log.info("refused: %s %s: %s", item.sha256_low, item.sha256_high, reason)
        return RunReport(pairs=PairCounts(refused=len(batch)))

    def _count(self, *, posted: int) -> RunReport:
        self.posted += posted
        return RunReport(pairs=PairCounts(posted=posted))

    def _look_up(self, batch: Sequence[OutboxPair]) -> tuple[list[OutboxPair], list[OutboxPair]]:
        """Ask Hydrus which pairs it relates in any way; return those, and the others."""
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


def _log_dry_run(pairs: Sequence[OutboxPair]) -> None:
    for each in pairs:
        log.debug("would post %.4f: %s %s", each.score, each.sha256_low, each.sha256_high)


def refusal_hint(hydrus_version: int) -> str:
    """Return why Hydrus may have refused valid pairs, and what happens next."""
    if hydrus_version == VERSION_THAT_DROPS_VIDEO_PAIRS:
        return (
            "This is Hydrus v682, which keeps no potential duplicates between videos. "
            "Update Hydrus to v683 or later; the pairs stay queued."
        )
    return "They stay queued; the next run tries them again."
