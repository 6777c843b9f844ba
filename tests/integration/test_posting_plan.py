"""Not to flood: what is kept back of the queue, why, and when it is posted after all."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from conftest import Home, count, rows

from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
FALSE_POSITIVE, DUPLICATE, ALTERNATE = 1, 2, 3
NOTHING = {"doubtful": 0, "implied": 0, "later": 0}


def copies(of: HydrusFile, number: int) -> list[HydrusFile]:
    """Files that show the same, under other hashes."""
    return [replace(of, hash=of.hash[:56] + f"{each:08x}") for each in range(number)]


def groups(pairs: frozenset[frozenset[str]]) -> set[frozenset[str]]:
    """The groups of files that some pairs join."""
    joined: list[frozenset[str]] = []
    for pair in pairs:
        touched = [group for group in joined if group & pair]
        joined = [group for group in joined if group not in touched]
        joined.append(pair.union(*touched))
    return set(joined)


@pytest.fixture
def group(library: list[HydrusFile]) -> list[HydrusFile]:
    """Five copies of one video."""
    return copies(library[0], 5)


class TestSpanning:
    """`post.pairs: "spanning"` posts what Hydrus needs to join the copies of each video."""

    @pytest.fixture(autouse=True)
    def _spanning(self, home: Home) -> None:
        home.configure(post={"pairs": "spanning"})

    def test_joins_what_all_pairs_would_join_with_fewer(
        self, home: Home, serve: Serve, library: list[HydrusFile], group: list[HydrusFile]
    ) -> None:
        everything = [*library, *group]
        client = serve(everything)
        result = home.update()
        joined = client.potentials
        assert result["pairs"]["posted"] == len(joined)
        assert result["kept_back"]["implied"] == result["pairs"]["queued"] >= 6
        assert len(joined) == sum(len(each) - 1 for each in groups(joined))

        again = home.update()
        assert again["pairs"]["posted"] == 0
        assert again["kept_back"]["implied"] == result["pairs"]["queued"]

        home.forget()
        home.configure(post={"pairs": "all"})
        unabridged = serve(everything)
        assert home.update()["kept_back"] == NOTHING
        assert groups(unabridged.potentials) == groups(joined)
        assert len(unabridged.potentials) == len(joined) + result["pairs"]["queued"]

    def test_takes_the_strongest_links(
        self, home: Home, serve: Serve, library: list[HydrusFile], group: list[HydrusFile]
    ) -> None:
        serve([*library, *group])
        home.update()
        kept_back = home.pairs("queued")
        scores = {
            frozenset((a.lower(), b.lower())): score for (a, b), score in home.scores().items()
        }
        posted = home.pairs("posted")
        for pair in kept_back:
            stronger = frozenset(each for each in posted if scores[each] >= scores[pair])
            assert any(pair <= each for each in groups(stronger))

    def test_says_so(self, home: Home, serve: Serve, group: list[HydrusFile]) -> None:
        serve(group)
        outcome = home.run("update")
        assert outcome.exit_code == 0
        assert "Kept back: 6 join files that others join already (post.pairs)" in outcome.out

    def test_all_posts_later_what_was_kept_back(
        self, home: Home, serve: Serve, group: list[HydrusFile]
    ) -> None:
        client = serve(group)
        home.update()
        home.configure(post={"pairs": "all"})
        home.update()
        assert len(client.potentials) == len(rows(client)) == 10

    def test_a_new_copy_is_joined_by_one_pair(
        self, home: Home, serve: Serve, group: list[HydrusFile]
    ) -> None:
        client = serve(group[:4])
        home.update()
        client = serve(group)
        result = home.update()
        assert result["pairs"]["posted"] == len(client.potentials) == 1
        assert any(group[4].hash in pair for pair in client.potentials)

    def test_a_link_that_the_user_denies_is_replaced(
        self, home: Home, serve: Serve, group: list[HydrusFile]
    ) -> None:
        """Its files may be copies of a third one all the same: another link joins them."""
        client = serve(group)
        home.update()
        denied = min(client.potentials, key=sorted)
        client.decide(*sorted(denied), FALSE_POSITIVE)
        assert home.update()["pairs"]["posted"] == 1
        assert denied not in client.potentials
        assert len(groups(client.potentials)) == 1
        assert len(rows(client)) == len(set(rows(client)))

    def test_links_through_a_file_that_is_gone_are_replaced(
        self, home: Home, serve: Serve, group: list[HydrusFile]
    ) -> None:
        client = serve(group)
        home.update()
        degrees = {each.hash: 0 for each in group}
        for pair in client.potentials:
            for each in pair:
                degrees[each] += 1
        hub = max(degrees, key=lambda each: (degrees[each], each))
        assert degrees[hub] > 1
        client.trash(hub)
        home.update()
        left = frozenset(pair for pair in client.potentials if hub not in pair)
        assert groups(left) == {frozenset(each.hash for each in group if each.hash != hub)}

    def test_copies_that_the_user_has_joined_need_no_more_pairs(
        self, home: Home, serve: Serve, group: list[HydrusFile]
    ) -> None:
        client = serve(group)
        home.update()
        for pair in sorted(map(sorted, client.potentials)):
            client.decide(*pair, DUPLICATE)
        earlier = len(rows(client))
        assert home.update()["pairs"]["posted"] == 0
        assert len(rows(client)) == earlier


class TestMaxPerRun:
    """`post.max_per_run` posts the most certain first and leaves the rest queued."""

    def test_posts_the_best_first_and_each_once(
        self, home: Home, serve: Serve, library: list[HydrusFile]
    ) -> None:
        client = serve(library)
        home.update("--dry-run")
        scores = {
            frozenset((a.lower(), b.lower())): score for (a, b), score in home.scores().items()
        }
        total = len(scores)
        home.configure(post={"max_per_run": 4, "batch_size": 3})
        for night in range(-(-total // 4)):
            result = home.update()
            left = max(0, total - 4 * (night + 1))
            assert result["pairs"]["queued"] == result["kept_back"]["later"] == left
        sent = [scores[pair] for pair in rows(client)]
        assert len(sent) == len(set(rows(client))) == total
        assert sent == sorted(sent, reverse=True)
        assert home.update()["kept_back"] == NOTHING

    def test_what_hydrus_knows_already_does_not_count(
        self, home: Home, serve: Serve, group: list[HydrusFile]
    ) -> None:
        client = serve(group)
        home.update("--dry-run")
        home.configure(post={"max_per_run": 3, "batch_size": 2})
        client.decide(group[0].hash, group[1].hash, ALTERNATE)
        result = home.update()
        assert (result["pairs"]["known"], result["pairs"]["posted"]) == (1, 3)

    def test_refused_pairs_do_not_keep_the_others_from_being_posted(
        self, home: Home, serve: Serve, group: list[HydrusFile]
    ) -> None:
        serve(group, hydrus_version=682)
        home.configure(post={"max_per_run": 3})
        assert home.update(expect=1)["pairs"]["refused"] >= 3
        client = serve(group, hydrus_version=683)
        home.configure(post={"max_per_run": 10})
        assert home.update()["pairs"]["posted"] == 10
        assert len(client.potentials) == 10

    def test_a_dry_run_tells_what_would_be_posted(
        self, home: Home, serve: Serve, group: list[HydrusFile]
    ) -> None:
        serve(group)
        home.configure(post={"max_per_run": 3})
        outcome = home.run("update", "--dry-run", "-v")
        assert "would post 3 pairs" in outcome.out
        assert "Kept back: 7 beyond post.max_per_run, for the next run" in outcome.out
        assert sum("would post" in line for line in outcome.err.splitlines()) == 3

    def test_stops_asking_when_it_has_posted_its_most(
        self, home: Home, serve: Serve, group: list[HydrusFile]
    ) -> None:
        client = serve(group)
        home.configure(post={"max_per_run": 1, "batch_size": 1})
        home.update()
        assert count(client, "/set_file_relationships") == 1
        assert count(client, "/get_file_relationships") == 2  # before and after


def test_doubtful_pairs_stay_queued_until_they_may_be_posted(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    client = serve(library)
    home.configure(
        decision={"method": "calibrated", "min_probability": 0.1},
        post={"min_probability_to_post": 0.99},
    )
    result = home.update()
    sure = {frozenset((a.lower(), b.lower())) for (a, b), p in home.scores().items() if p >= 0.99}
    assert client.potentials == sure
    assert 0 < len(sure) < result["pairs"]["matched"]
    kept_back = result["pairs"]["matched"] - len(sure)
    assert result["kept_back"] == {**NOTHING, "doubtful": kept_back}
    home.configure(post={"min_probability_to_post": 0.0})
    assert home.update()["pairs"]["posted"] == kept_back
    assert len(rows(client)) == len(set(rows(client)))


def test_a_probability_means_nothing_to_the_threshold_rule(home: Home, serve: Serve) -> None:
    serve([])
    home.configure(post={"min_probability_to_post": 0.9})
    outcome = home.run("update")
    assert outcome.exit_code == 2
    assert "post.min_probability_to_post" in outcome.err
    assert 'decision.method is "calibrated"' in outcome.err
