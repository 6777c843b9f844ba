"""Decide which queued pairs a run posts, before anything is sent. No I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import compress

from hydindex.config.sections import Post
from hydindex.matching.spanning_forest import spanning
from hydindex.pipeline.run_report import HeldBackCounts
from hydindex.records.pairs import FilePair, OutboxPair


@dataclass(frozen=True, slots=True)
class PostingPlan:
    """The pairs to post, highest score first, and how many are held back.

    Pairs that Hydrus already knows turn up only when the plan is carried out; they don't count
    towards `max_posts` (None: no limit).
    """

    pairs: Sequence[OutboxPair]
    max_posts: int | None
    held_back: HeldBackCounts


def plan_posting(
    queued: Sequence[OutboxPair],
    linked: Iterable[FilePair],
    settings: Post,
    *,
    shared_picture: int,
    posted: int = 0,
) -> PostingPlan:
    """Plan which of the queued pairs to post.

    `queued` come highest score first, without pairs of shared pictures: that many files share the
    picture says more than the score, and links that are not posted link nothing (see
    `shared_pictures.py`). `shared_picture` counts these pairs. `linked` are pairs that Hydrus links
    already, which only `post.pairs: spanning` considers. `posted` counts what this run has posted
    before.
    """
    probable = [each for each in queued if each.score >= settings.min_probability_to_post]
    pairs = probable
    if settings.pairs == "spanning" and probable:
        pairs = list(compress(probable, spanning([each.pair for each in probable], linked)))
    held_back = HeldBackCounts(
        shared_picture=shared_picture,
        improbable=len(queued) - len(probable),
        implied=len(probable) - len(pairs),
    )
    limit = settings.max_per_run
    return PostingPlan(pairs, None if limit is None else max(0, limit - posted), held_back)
