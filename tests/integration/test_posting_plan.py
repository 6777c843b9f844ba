"""The posting plan: what is held back, why, and when it is posted after all."""

from collections import Counter
from dataclasses import replace

import pytest
from conftest import THRESHOLD, Home, Library, Serve, assert_sent_once, at, count, rows
from hypothesis import given
from hypothesis import strategies as st
from plain_definition import groups

from hydindex.config.sections import Post
from hydindex.pipeline.posting_plan import plan_posting
from hydindex.pipeline.run_report import HeldBackCounts
from hydindex.records.pairs import FilePair, OutboxPair
from hydindex.standin.server import StandIn, refuse
from hydindex.standin.state import HydrusFile

FALSE_POSITIVE, DUPLICATE, ALTERNATE = 1, 2, 3
NOTHING = {"shared_picture": 0, "improbable": 0, "implied": 0, "over_limit": 0}

file_pairs = st.sets(st.integers(1, 6), min_size=2, max_size=2).map(lambda ids: FilePair.of(*ids))
probabilities = st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])


@given(
    st.dictionaries(file_pairs, probabilities),
    st.integers(0, 4),
    st.lists(file_pairs, max_size=3),
    st.sampled_from(["all", "spanning"]),
    probabilities,
    st.none() | st.integers(1, 4),
    st.integers(0, 5),
)
def test_a_plan_is_what_the_plain_definition_says(
    scores: dict[FilePair, float],
    shared_picture: int,
    linked: list[FilePair],
    pairs: str,
    min_probability: float,
    max_per_run: int | None,
    posted: int,
) -> None:
    by_score = sorted(scores.items(), key=lambda item: -item[1])
    queued = [OutboxPair(pair, "", "", score) for pair, score in by_score]
    settings = Post.model_validate(
        {"pairs": pairs, "min_probability_to_post": min_probability, "max_per_run": max_per_run}
    )
    plan = plan_posting(queued, linked, settings, shared_picture=shared_picture, posted=posted)

    probable = [each for each in queued if each.score >= min_probability]
    needed: list[OutboxPair] = []
    links = [frozenset(each.ids) for each in linked]
    for each in probable:
        ids = frozenset(each.pair.ids)
        if pairs == "all" or not any(ids <= group for group in groups(links)):
            needed.append(each)
        links.append(ids)
    assert plan.pairs == needed
    assert plan.held_back == HeldBackCounts(
        shared_picture=shared_picture,
        improbable=len(queued) - len(probable),
        implied=len(probable) - len(needed),
    )
    assert plan.max_posts == (None if max_per_run is None else max(0, max_per_run - posted))


@pytest.fixture
def group(library: list[HydrusFile]) -> Library:
    """Five copies of one video."""
    hashes = [library[0].hash[:56] + f"{number:08x}" for number in range(5)]
    return [replace(library[0], hash=sha256) for sha256 in hashes]


@pytest.fixture
def spanning(home: Home) -> None:
    """`post.pairs: "spanning"` posts only the pairs that Hydrus needs to link all copies."""
    home.configure(post={"pairs": "spanning"})


@pytest.mark.usefixtures("spanning")
def test_spanning_links_what_all_pairs_would_link_by_the_highest_scores(
    home: Home, serve: Serve, library: Library, group: Library
) -> None:
    client = serve([*library, *group])
    result = home.update()
    links = client.potentials
    implied = home.pairs("queued")
    assert result["held_back"]["implied"] == result["pairs"]["queued"] == len(implied) >= 6
    assert len(links) == sum(len(each) - 1 for each in groups(links))
    scores = home.scores()
    for pair in implied:
        stronger = [link for link in links if scores[link] >= scores[pair]]
        assert any(pair <= each for each in groups(stronger))

    again = home.update()
    assert again["pairs"]["posted"] == 0
    assert again["held_back"] == {**NOTHING, "implied": len(implied)}
    assert "post.pairs" in home.run("update").out

    home.configure(post={"pairs": "all"})
    assert home.update()["held_back"] == NOTHING
    assert groups(client.potentials) == groups(links)
    assert client.potentials == links | implied
    assert_sent_once(client)


@pytest.mark.usefixtures("spanning")
def test_joined_copies_need_no_more_pairs(home: Home, serve: Serve, group: Library) -> None:
    client = serve(group[:4])
    home.update()
    for pair in sorted(map(sorted, client.potentials)):
        client.decide(*pair, DUPLICATE)
    client.clear_log()
    assert home.update()["pairs"]["posted"] == 0
    client.add(group[4:])
    assert home.update()["pairs"]["posted"] == len(rows(client)) == 1
    assert group[4].hash in rows(client)[0]


@pytest.mark.usefixtures("spanning")
def test_denied_and_lost_links_are_replaced(home: Home, serve: Serve, group: Library) -> None:
    """Both files of a denied link may still be copies of a third one."""
    client = serve(group)
    home.update()
    denied = min(client.potentials, key=sorted)
    client.decide(*sorted(denied), FALSE_POSITIVE)
    assert home.update()["pairs"]["posted"] == 1
    assert denied not in client.potentials
    assert len(groups(client.potentials)) == 1

    names = Counter(name for pair in client.potentials for name in pair)
    ((hub, links),) = names.most_common(1)
    assert links > 1
    client.trash(hub)
    assert home.update()["pairs"]["posted"] >= 1
    left = {pair for pair in client.potentials if hub not in pair}
    assert groups(left) == {frozenset(each.hash for each in group) - {hub}}
    assert_sent_once(client)


def test_max_per_run_posts_the_highest_scores_first(home: Home, client: StandIn) -> None:
    home.update("--dry-run")
    scores = home.scores()
    total = len(scores)
    home.configure(post={"max_per_run": 6, "batch_size": 4})
    for left in [*range(total - 6, 0, -6), 0]:
        result = home.update()
        assert result["pairs"]["queued"] == result["held_back"]["over_limit"] == left
    sent = [scores[pair] for pair in rows(client)]
    assert len(sent) == len(set(rows(client))) == total
    assert sent == sorted(sent, reverse=True)


def test_the_next_best_pair_takes_the_place_of_a_refused_one(home: Home, client: StandIn) -> None:
    home.update("--dry-run")
    scores = home.scores()
    best, second, *_ = sorted(scores, key=lambda pair: scores[pair], reverse=True)
    client.faults = at("/set_file_relationships", refuse(400), times=1)
    home.configure(post={"max_per_run": 1, "batch_size": 3})
    home.update()
    assert home.pairs("refused") == {best}
    assert client.potentials == {second}


def test_known_pairs_do_not_count(home: Home, serve: Serve, group: Library) -> None:
    client = serve(group)
    home.configure(post={"max_per_run": 3, "batch_size": 1})
    dry = home.run("update", "--dry-run", "-v")
    assert "would post 3 pairs" in dry.out
    assert "post.max_per_run" in dry.out
    planned = [line.split()[-2:] for line in dry.err.splitlines() if "would post" in line]
    assert len(planned) == 3

    client.decide(*planned[0], ALTERNATE)
    client.clear_log()
    pairs = home.update()["pairs"]
    assert (pairs["known"], pairs["posted"]) == (1, 3)
    assert count(client, "/set_file_relationships") == 3
    # Nothing is asked about pairs beyond the limit: decisions, before and after each post.
    assert count(client, "/get_file_relationships") <= 1 + 4 + 3


def test_improbable_pairs_stay_queued_until_they_may_be_posted(home: Home, client: StandIn) -> None:
    home.configure(decision={"min_probability": 0.1}, post={"min_probability_to_post": 0.99})
    result = home.update()
    probable = {pair for pair, score in home.scores().items() if score >= 0.99}
    assert client.potentials == probable
    improbable = result["pairs"]["matched"] - len(probable)
    assert 0 < improbable < result["pairs"]["matched"]
    assert result["held_back"] == {**NOTHING, "improbable": improbable}
    home.configure(post={"min_probability_to_post": 0.0})
    assert home.update()["pairs"]["posted"] == improbable
    assert_sent_once(client)


def test_the_threshold_method_has_no_probabilities(home: Home) -> None:
    home.configure(**THRESHOLD, post={"min_probability_to_post": 0.9})
    error = home.fail("update", expect=2)
    assert "post.min_probability_to_post" in error
    assert "decision.method" in error
