"""Duplicate groups, alternates, false positives and potentials behave as in Hydrus v681."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hydindex.standin.relationships import FileRelationships, Relationship, Relationships

POTENTIAL, FALSE_POSITIVE, SAME_QUALITY, ALTERNATE, A_BETTER, B_BETTER = Relationship
DECISIONS = [each for each in Relationship if each is not POTENTIAL]
A, B, C, D, *_ = FILES = [letter * 64 for letter in "abcdefg"]


def of(relationships: Relationships, file_hash: str) -> FileRelationships:
    return relationships.relationships_of(file_hash, lambda _hash: True)


def pairs(*pairs_of_hashes: tuple[str, str]) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in pairs_of_hashes}


def after(*steps: tuple[str, str, Relationship]) -> Relationships:
    relationships = Relationships()
    for a, b, relationship in steps:
        relationships.set_relationship(a, b, relationship)
    return relationships


def test_a_potential_is_kept_once_and_listed_for_both_files() -> None:
    known = after((A, B, POTENTIAL), (B, A, POTENTIAL))
    assert known.potentials == pairs((A, B))
    assert of(known, A).potential == {B}
    assert of(known, B).potential == {A}


def test_a_file_has_no_potential_with_itself() -> None:
    assert after((A, A, POTENTIAL)).potentials == frozenset()


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decided_pair_never_becomes_a_potential_again(decision: Relationship) -> None:
    known = after((A, B, POTENTIAL), (A, B, decision), (A, B, POTENTIAL))
    assert known.potentials == frozenset()


def test_a_potential_with_a_member_is_a_potential_with_its_king() -> None:
    known = after((A, B, SAME_QUALITY), (B, C, POTENTIAL))
    assert known.potentials == pairs((A, C))
    assert of(known, B).potential == {C}
    assert of(known, C).potential == {A}


def test_a_better_file_takes_over_the_other_group_and_its_potentials() -> None:
    known = after((B, C, POTENTIAL), (A, B, A_BETTER))
    assert of(known, B).king == A
    assert of(known, B).duplicate == {A}
    assert known.potentials == pairs((A, C))


@pytest.mark.parametrize(
    ("steps", "file_hash", "king"),
    [
        ([(A, B, B_BETTER)], A, B),
        ([(A, B, A_BETTER), (B, A, A_BETTER)], A, B),  # a member better than its king
        ([(A, B, A_BETTER), (C, B, SAME_QUALITY)], C, A),  # joins the group of the member
    ],
)
def test_the_better_file_is_king(
    steps: list[tuple[str, str, Relationship]], file_hash: str, king: str
) -> None:
    assert of(after(*steps), file_hash).king == king


def test_a_member_worse_than_a_file_outside_changes_groups_alone() -> None:
    known = after((A, B, A_BETTER), (C, B, A_BETTER))
    assert of(known, A).duplicate == frozenset()
    assert of(known, C).duplicate == {B}


def test_false_positives_hold_between_all_alternates_and_are_listed_by_king() -> None:
    known = after((A, B, ALTERNATE), (C, D, SAME_QUALITY), (B, D, FALSE_POSITIVE))
    assert of(known, A).false_positive == {C}
    assert of(known, D).false_positive == {A, B}
    known.set_relationship(A, C, POTENTIAL)
    assert known.potentials == frozenset()


def test_two_alternates_of_a_third_file_are_alternates_and_may_become_potentials() -> None:
    known = after((A, B, ALTERNATE), (B, C, ALTERNATE), (A, C, POTENTIAL))
    assert of(known, A).alternate == {B, C}
    assert known.potentials == pairs((A, C))


@pytest.mark.parametrize("earlier", [FALSE_POSITIVE, SAME_QUALITY])
def test_alternates_replace_an_earlier_decision(earlier: Relationship) -> None:
    none = frozenset[str]()
    assert of(after((A, B, earlier), (A, B, ALTERNATE)), A) == FileRelationships(
        king=A, potential=none, duplicate=none, false_positive=none, alternate=frozenset({B})
    )


def test_an_invisible_king_hides_potentials_but_no_other_relatives() -> None:
    known = after((A, B, A_BETTER), (B, C, POTENTIAL), (B, D, ALTERNATE))

    def seen_from(file_hash: str) -> FileRelationships:
        return known.relationships_of(file_hash, lambda each: each != A)

    assert seen_from(C).potential == frozenset()
    assert seen_from(B).potential == frozenset()
    assert seen_from(D).alternate == {B}
    assert seen_from(B).king == A


def test_only_kings_that_take_potentials_get_them() -> None:
    known = Relationships(takes_potentials=lambda king: king != B)
    known.set_relationship(A, B, POTENTIAL)
    known.set_relationship(A, C, POTENTIAL)
    assert known.potentials == pairs((A, C))


a_file = st.sampled_from(FILES)


class AnyHistory(RuleBasedStateMachine):
    """After any history groups are consistent and decisions are respected."""

    def __init__(self) -> None:
        super().__init__()
        self.relationships = Relationships()

    def of(self, file: str) -> FileRelationships:
        return of(self.relationships, file)

    @rule(a=a_file, b=a_file, relationship=st.sampled_from(Relationship))
    def set_relationship(self, a: str, b: str, relationship: Relationship) -> None:
        self.relationships.set_relationship(a, b, relationship)

    @rule(a=a_file, b=a_file)
    def post(self, a: str, b: str) -> None:
        """A post is listed unless the files are duplicates or false positives."""
        before = self.of(a)
        self.relationships.set_relationship(a, b, POTENTIAL)
        king_b = self.of(b).king
        listed = king_b in self.of(a).potential
        if b in {a, *before.duplicate} or king_b in before.false_positive:
            assert not listed
        elif king_b not in before.alternate:
            assert listed

    @rule(a=a_file, b=a_file, decision=st.sampled_from(DECISIONS))
    def decide_then_post(self, a: str, b: str, decision: Relationship) -> None:
        """A decided pair is no potential, and a post does not make it one."""
        before = self.of(a)
        self.relationships.set_relationship(a, b, decision)
        assert self.of(b).king not in self.of(a).potential
        self.relationships.set_relationship(a, b, POTENTIAL)
        king_b = self.of(b).king
        # Hydrus ignores a false positive between alternates.
        if decision is not FALSE_POSITIVE or king_b not in before.alternate:
            assert king_b not in self.of(a).potential

    @rule(file=a_file)
    def remove_potentials(self, file: str) -> None:
        self.relationships.remove_potentials(file)
        assert self.of(file).potential == frozenset()

    @invariant()
    def relationships_are_consistent(self) -> None:
        for file in FILES:
            mine = self.of(file)
            group = {file, *mine.duplicate}
            assert mine.king in group
            for member in group:
                assert {member, *self.of(member).duplicate} == group
                assert self.of(member).king == mine.king
            for name in ("potential", "false_positive", "alternate"):
                for other in getattr(mine, name):
                    assert self.of(other).king == other
                    assert mine.king in getattr(self.of(other), name)
            assert not (mine.potential | mine.false_positive | mine.alternate) & group
            assert not mine.false_positive & mine.alternate


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40)
