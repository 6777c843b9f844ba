"""Post pairs to Hydrus, and read back what became of each.

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
from hydindex.pipeline.posting_plan import PostingPlan, plan_posting
from hydindex.pipeline.run_report import HeldBackCounts, PairCounts, RunReport, Steps
from hydindex.pipeline.shared_pictures import files_with_shared_picture
from hydindex.records.pair_states import Event
from hydindex.records.pairs import FilePair, OutboxPair
from hydindex.store.store import Store

log = logging.getLogger(__name__)

# v682 answers 200 to potentials between videos and keeps none of them; v683 fixed that.
VERSION_THAT_DROPS_VIDEO_PAIRS: Final = 682


class Poster:
    """Posts pairs through one client, for one run. A dry run changes nothing in Hydrus."""

    def __init__(
        self, store: Store, client: HydrusClient, settings: Post, *, dry_run: bool
    ) -> None:
        self._store = store
        self._outbox = store.outbox
        self._client = client
        self._settings = settings
        self._dry_run = dry_run
        self._posted_count = 0
        # Only the next run tries these again.
        self._refused: set[FilePair] = set()

    def recover_interrupted(self) -> Steps:
        """Read back the pairs that an earlier run was sending when it ended.

        Those that Hydrus has are posted; the others never arrived and are queued again. A dry run
        does the same, but doesn't count them.
        """
        interrupted = self._outbox.sending()
        arrived = 0
        for batch in batched(interrupted, self._settings.batch_size):
            missing = self._apply_to_related(batch, Event.CONFIRM)
            self._outbox.apply(Event.RETURN_TO_QUEUE, missing)
            arrived += len(batch) - len(missing)
            if not self._dry_run:
                yield self._count_posted(len(batch) - len(missing))
        if interrupted:
            log.info("of %d interrupted posts, %d had arrived", len(interrupted), arrived)

    def post_queued(self) -> Generator[RunReport, None, HeldBackCounts]:
        """Post queued pairs as the plan says; return how many are held back.

        A dry run logs them instead.
        """
        plan = self._plan()
        remaining = len(plan.pairs) if plan.max_posts is None else plan.max_posts
        handled = 0
        for batch in batched(plan.pairs, self._settings.batch_size):
            if remaining == 0:
                break
            unknown = self._apply_to_related(batch, Event.MARK_KNOWN)
            yield RunReport(pairs=PairCounts(known=len(batch) - len(unknown)))
            handled += len(batch) - len(unknown)
            # Refused pairs don't count: others take their places, from the same batch first.
            while unknown and remaining:
                next_pairs, unknown = unknown[:remaining], unknown[remaining:]
                handled += len(next_pairs)
                if self._dry_run:
                    remaining -= len(next_pairs)
                    for each in next_pairs:
                        log.debug(
                            "would post %.4f: %s %s", each.score, each.sha256_low, each.sha256_high
                        )
                    continue
                self._outbox.apply(Event.SEND, next_pairs)
                for step in self._send(next_pairs):
                    remaining -= step.pairs.posted
                    yield step
        return plan.held_back + HeldBackCounts(over_limit=len(plan.pairs) - handled)

    def count_queued(self) -> int:
        """Count the pairs that wait to be posted, without those that this run tried."""
        return self._outbox.count_sendable() - len(self._refused)

    def warn_if_refused(self, hydrus_version: int) -> None:
        """Warn if Hydrus refused pairs, and say why that may be."""
        if not self._refused:
            return
        hint = "The next run tries them again."
        if hydrus_version == VERSION_THAT_DROPS_VIDEO_PAIRS:
            hint = (
                "This is Hydrus v682, which keeps no potential duplicates between videos. "
                "Update Hydrus to v683 or later; the next run then posts the pairs."
            )
        log.warning("Hydrus refused %d pairs. %s", len(self._refused), hint)

    def _plan(self) -> PostingPlan:
        sendable = self._outbox.sendable(files_with_shared_picture(self._store))
        queued = [each for each in sendable if each.pair not in self._refused]
        linked = self._store.decisions.linked() if self._settings.pairs == "spanning" else ()
        return plan_posting(
            queued,
            linked,
            self._settings,
            shared_picture=self.count_queued() - len(queued),
            posted=self._posted_count,
        )

    def _send(self, batch: Sequence[OutboxPair]) -> Steps:
        """Send pairs that are marked as sending, and read back each.

        Raises:
            HydrusUnreachable: no try was answered; the pairs stay marked for the next run.
        """
        for tries_left in range(self._settings.max_retries, -1, -1):
            no_answer: HydrusUnreachable | None = None
            try:
                self._client.post_potentials(
                    [(each.sha256_low, each.sha256_high) for each in batch],
                    merge=self._settings.do_default_merge,
                )
            except HydrusRejected as error:
                yield from self._isolate_rejected(batch, error)
                return
            except HydrusUnreachable as error:
                no_answer = error
            # Hydrus may have stored pairs without an answer, or answered without storing them.
            missing = self._apply_to_related(batch, Event.CONFIRM)
            yield self._count_posted(len(batch) - len(missing))
            if no_answer is None:
                yield self._refuse(missing, "Hydrus did not keep the pair")
                return
            if not missing:
                return
            if not tries_left:
                raise no_answer
            batch = missing
            time.sleep(self._settings.retry_pause_s)

    def _isolate_rejected(self, batch: Sequence[OutboxPair], error: HydrusRejected) -> Steps:
        """Send a rejected batch in halves: Hydrus rejects a whole request for one bad row."""
        if len(batch) == 1:
            yield self._refuse(batch, error.message)
            return
        middle = len(batch) // 2
        yield from self._send(batch[:middle])
        yield from self._send(batch[middle:])

    def _apply_to_related(self, batch: Sequence[OutboxPair], event: Event) -> list[OutboxPair]:
        """Read back pairs; apply an event to those that Hydrus relates, and return the others."""
        if not batch:
            return []
        hashes = {sha256 for each in batch for sha256 in (each.sha256_low, each.sha256_high)}
        relationships = self._client.relationships(hashes)
        related: list[OutboxPair] = []
        unrelated: list[OutboxPair] = []
        for each in batch:
            is_related = relationships.related(each.sha256_low, each.sha256_high)
            (related if is_related else unrelated).append(each)
        self._outbox.apply(event, related)
        return unrelated

    def _refuse(self, batch: Sequence[OutboxPair], reason: str) -> RunReport:
        self._outbox.apply(Event.MARK_REFUSED, batch, reason=reason)
        self._refused.update(each.pair for each in batch)
        for each in batch:
            log.info("refused: %s %s: %s", each.sha256_low, each.sha256_high, reason)
        return RunReport(pairs=PairCounts(refused=len(batch)))

    def _count_posted(self, posted: int) -> RunReport:
        self._posted_count += posted
        return RunReport(pairs=PairCounts(posted=posted))
