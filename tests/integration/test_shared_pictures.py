"""Pairs of a picture that many files of different durations share are held back; copies are not."""

from itertools import combinations

import numpy as np
import pytest
from conftest import THRESHOLD, Home, Library, Serve, assert_sent_once, rows
from hypothesis import given
from hypothesis import strategies as st
from made_pictures import COVERS, with_picture_of
from numpy.typing import NDArray
from plain_definition import groups

from hydindex.pipeline.shared_pictures import (
    MIN_DURATIONS,
    MIN_PARTNERS,
    SAME_LENGTH_MS,
    find_shared,
    shared_pictures,
)
from hydindex.records.pairs import MatchingPartners
from hydindex.store.store import open_for_reading

# A picture that so few files share is not held back, whatever their durations.
FEW = 8


def hashes(files: Library) -> set[str]:
    return {each.hash for each in files}


def all_pairs(files: Library) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in combinations(hashes(files), 2)}


@pytest.fixture
def copies(library: Library) -> Library:
    """Forty re-encodings of another video: their durations differ by a frame at most."""
    other = next(each for each in library if each.base != library[0].base)
    return with_picture_of(other, "copy", [60_000 + 40 * (number % 3 - 1) for number in range(40)])


def test_pairs_of_a_cover_are_held_back_and_counted(
    home: Home, serve: Serve, covers: Library
) -> None:
    client = serve(covers)
    result = home.update()
    pairs = COVERS * (COVERS - 1) // 2
    assert rows(client) == []
    assert result["pairs"]["queued"] == result["held_back"]["shared_picture"] == pairs
    assert result["left_over"] == {}
    assert home.update()["held_back"]["shared_picture"] == pairs
    assert f"{pairs:,} pairs of a picture that many files share" in home.run("update").out

    stats = home.run("stats", "--json").json["pairs"]
    assert (stats["shared_picture"], stats["shared_pictures"]) == (pairs, 1)
    shown = " ".join(home.run("stats").out.split())
    assert f"held back for a shared picture {pairs:,} shared pictures 1" in shown
    assert all(each["held_back"] for each in home.run("pairs", "--json").json["pairs"])
    assert home.run("pairs").out.count("shared picture") == pairs


def test_copies_of_one_duration_are_all_posted(home: Home, serve: Serve, copies: Library) -> None:
    client = serve(copies)
    result = home.update()
    assert client.potentials == all_pairs(copies)
    assert not any(result["held_back"].values())
    assert not any(each["held_back"] for each in home.run("pairs", "--json").json["pairs"])
    assert "shared picture" not in home.run("stats").out


@pytest.mark.parametrize(
    "durations_ms",
    [
        [60_000 + 110 * number for number in range(FEW)],
        [60_000 + 300 * (number % 3) + number for number in range(40)],
        [60_000 + 111 * (number % 3) for number in range(40)],
        [None] * 40,
    ],
    ids=["a few cuts", "three cuts", "nine frames per second", "still images"],
)
def test_trimmed_and_jittery_copies_are_all_posted(
    home: Home, serve: Serve, library: Library, durations_ms: list[float | None]
) -> None:
    files = with_picture_of(library[0], "copy", durations_ms)
    client = serve(files)
    home.update()
    assert client.potentials == all_pairs(files)


def test_odd_cuts_do_not_hold_back_many_copies(home: Home, serve: Serve, library: Library) -> None:
    """Ten cuts of as many durations; forty files that agree outnumber them."""
    copies = with_picture_of(library[0], "copy", [60_000 + number % 40 for number in range(40)])
    cuts = with_picture_of(library[0], "cut", [60_110 + 80 * number for number in range(10)])
    client = serve([*copies, *cuts])
    home.update()
    assert client.potentials >= all_pairs(copies)


def test_only_the_crowd_is_held_back(
    home: Home, serve: Serve, covers: Library, copies: Library
) -> None:
    home.configure(post={"max_per_run": 500})
    client = serve([*covers, *copies])
    result = home.update()
    assert result["held_back"]["shared_picture"] == len(all_pairs(covers))
    assert result["held_back"]["over_limit"] == len(all_pairs(copies)) - 500
    home.update()
    assert client.potentials == all_pairs(copies)
    assert home.pairs("queued") == all_pairs(covers)


def test_spanning_links_only_what_is_not_held_back(
    home: Home, serve: Serve, covers: Library, copies: Library
) -> None:
    home.configure(post={"pairs": "spanning"})
    client = serve([*covers, *copies])
    result = home.update()
    assert result["held_back"]["shared_picture"] == len(all_pairs(covers))
    assert result["held_back"]["implied"] == len(all_pairs(copies)) - (len(copies) - 1)
    assert groups(client.potentials) == {frozenset(hashes(copies))}


def test_when_the_crowd_is_deleted_what_remains_is_posted(
    home: Home, serve: Serve, covers: Library
) -> None:
    client = serve(covers)
    home.update()
    kept = covers[:FEW]
    for each in covers[FEW:]:
        client.trash(each.hash)
    assert home.update()["held_back"]["shared_picture"] == 0
    assert client.potentials == all_pairs(kept)
    stats = home.run("stats", "--json").json["pairs"]
    assert (stats["shared_picture"], stats["shared_pictures"]) == (0, 0)


def test_two_shared_pictures_are_two_groups(home: Home, serve: Serve, library: Library) -> None:
    """The group with more pairs comes first, whatever the order of the files in the index."""
    other = next(each for each in library if each.base != library[0].base)
    few = with_picture_of(library[0], "few", [60_000 + 111 * number for number in range(10)])
    many = with_picture_of(other, "many", [60_000 + 111 * number for number in range(10)] * 2)
    serve([*few, *many])
    home.update()
    with open_for_reading(home.index) as store:
        shared = shared_pictures(store)
        members = [set(store.files.hashes(each.file_ids)) for each in shared]
    assert members == [hashes(many), hashes(few)]
    pairs = [sum(pair <= each for pair in home.pairs("queued")) for each in members]
    assert [each.pair_count for each in shared] == pairs


def test_a_pair_that_frames_confirm_is_posted(home: Home, serve: Serve, covers: Library) -> None:
    client = serve(covers)
    home.update()
    home.sql(
        "UPDATE pair SET features = json_set(features, '$.frames', 0.99) "
        "WHERE (low_id, high_id) = (SELECT low_id, high_id FROM pair LIMIT 1)"
    )
    result = home.update()
    assert result["pairs"]["posted"] == len(client.potentials) == 1
    assert result["held_back"]["shared_picture"] == len(all_pairs(covers)) - 1


def test_what_was_posted_stays_and_counts(home: Home, serve: Serve, library: Library) -> None:
    """The first eight look like cuts of one video; the ninth is a candidate of three of them."""
    files = with_picture_of(library[0], "cover", [60_000 + 110 * each for each in range(FEW)])
    client = serve(files)
    home.update()
    posted = client.potentials
    assert posted == all_pairs(files)
    client.add(with_picture_of(library[0], "ninth", [61_500]))
    result = home.update()
    assert result["pairs"]["matched"] == result["held_back"]["shared_picture"] == 3
    assert client.potentials == home.pairs("posted") == posted
    assert_sent_once(client)


def test_pairs_at_the_edge_of_a_crowd_are_held_back(
    home: Home, serve: Serve, library: Library, covers: Library
) -> None:
    """Two files that are candidates of few covers, the first and the last in the index."""
    shorter, longer = with_picture_of(library[0], "edge", [59_100, 61_900])
    client = serve([shorter])
    for added in (covers, [longer]):
        home.update()
        client.add(added)
    home.update()
    assert rows(client) == []
    for edge in (shorter, longer):
        assert 0 < sum(edge.hash in pair for pair in home.pairs("queued")) < FEW


def test_the_threshold_method_holds_nothing_back(home: Home, serve: Serve, covers: Library) -> None:
    home.configure(**THRESHOLD)
    client = serve(covers)
    home.update()
    assert client.potentials == all_pairs(covers)


# ---- The rule

differences_ms = st.lists(
    st.sampled_from([-700.0, -500.0, -300.0, -150.0, -100.0, -99.0, -1.0, 0.0, 1.0, 101.0, 200.0])
    | st.floats(-1000, 1000),
    max_size=30,
)


def is_shared(partners: list[tuple[float, bool]]) -> bool:
    """Say whether a picture is shared, by the plain definition."""
    disagreeing = [ms for ms, confirmed in partners if not confirmed and abs(ms) > SAME_LENGTH_MS]
    chosen: list[float] = []
    for each in sorted([0.0, *(ms for ms, _ in partners)]):
        if not chosen or each > chosen[-1] + SAME_LENGTH_MS:
            chosen.append(each)
    enough = len(disagreeing) >= MIN_PARTNERS and len(chosen) >= MIN_DURATIONS
    return enough and len(disagreeing) > len(partners) - len(disagreeing)


def partners_of(files: dict[int, list[tuple[float, bool]]]) -> MatchingPartners:
    listed = [(file_id, *each) for file_id, partners in files.items() for each in partners]
    np.random.default_rng(0).shuffle(listed)
    return MatchingPartners(
        np.array([each[0] for each in listed], np.int64),
        np.array([each[1] for each in listed], np.float64),
        np.array([each[2] for each in listed], np.bool_),
    )


@given(
    st.dictionaries(
        st.integers(1, 99),
        differences_ms.flatmap(
            lambda values: st.lists(
                st.integers(0, 9).map(lambda number: number == 0),
                min_size=len(values),
                max_size=len(values),
            ).map(lambda confirmed: list(zip(values, confirmed, strict=True)))
        ),
        max_size=4,
    )
)
def test_the_rule_is_what_the_plain_definition_says(
    files: dict[int, list[tuple[float, bool]]],
) -> None:
    shared = find_shared(partners_of(files)).tolist()
    assert shared == sorted(file_id for file_id in files if is_shared(files[file_id]))


def shared_among(durations_ms: NDArray[np.float64]) -> set[int]:
    """Find the shared pictures of files that all match if they are candidates."""
    files = {
        number: [
            (other - own, False)
            for position, other in enumerate(durations_ms.tolist())
            if position != number and abs(other - own) <= 1000
        ]
        for number, own in enumerate(durations_ms.tolist())
    }
    return set(find_shared(partners_of(files)).tolist())


@pytest.mark.parametrize("frame_ms", [1, 40])
def test_a_copy_in_a_crowd_is_no_rarer_than_chance(frame_ms: int) -> None:
    """So equal durations don't confirm a pair there."""
    rng = np.random.default_rng(5)
    durations_ms = np.round(rng.uniform(0, 1000, 150) / frame_ms) * frame_ms
    assert shared_among(np.append(durations_ms, durations_ms[0])) == set(range(151))
    others = np.abs(np.subtract.outer(durations_ms, durations_ms))[np.triu_indices(150, 1)]
    assert (others == 0).sum() >= 5
    assert (others <= 40).sum() > 700
