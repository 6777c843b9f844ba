"""Duplicate groups, alternates, false positives and potentials behave as in Hydrus v681."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hydindex.standin.relationships import FileRelationships, Relationship, Relationships

POTENTIAL, FALSE_POSITIVE, SAME_QUALITY, ALTERNATE, A_BETTER, B_BETTER = Relationship
DECISIONS = [each for each in Relationship if each is not POTENTIAL]
A, B, C, D, *_ = FILES = [letter * 64 for letter in "abcdefg"]


Steps = list[tuple[str, str, Relationship]]


def of(relationships: Relationships, file_hash: str) -> FileRelationships:
    return relationships.relationships_of(file_hash, lambda _hash: True)


def after(*steps: tuple[str, str, Relationship]) -> Relationships:
    relationships = Relationships()
    for a, b, relationship in steps:
        relationships.set_relationship(a, b, relationship)
    return relationships


@pytest.mark.parametrize(
    ("steps", "potentials"),
    [
        ([(A, B, POTENTIAL), (B, A, POTENTIAL)], [{A, B}]),
        ([(A, A, POTENTIAL)], []),
        *(([(A, B, POTENTIAL), (A, B, each), (A, B, POTENTIAL)], []) for each in DECISIONS),
        ([(A, B, SAME_QUALITY), (B, C, POTENTIAL)], [{A, C}]),
        ([(B, C, POTENTIAL), (A, B, A_BETTER)], [{A, C}]),
        ([(A, B, ALTERNATE), (B, C, ALTERNATE), (A, C, POTENTIAL)], [{A, C}]),
        ([(A, B, ALTERNATE), (B, C, FALSE_POSITIVE), (A, C, POTENTIAL)], []),
    ],
)
def test_potentials_are_of_kings_and_never_of_a_decided_pair(
    steps: Steps, potentials: list[set[str]]
) -> None:
    assert after(*steps).potentials == set(map(frozenset, potentials))


@pytest.mark.parametrize(
    ("steps", "file", "king", "duplicates"),
    [
        ([(A, B, B_BETTER)], A, B, {B}),
        ([(A, B, A_BETTER), (B, A, A_BETTER)], A, B, {B}),  # a member better than its king
        ([(A, B, A_BETTER), (C, B, SAME_QUALITY)], C, A, {A, B}),  # the group of the member
        ([(A, B, A_BETTER), (C, B, A_BETTER)], B, C, {C}),  # the worse member leaves alone
        ([(A, B, A_BETTER), (C, B, A_BETTER)], A, A, set()),
    ],
)
def test_the_better_file_is_king(steps: Steps, file: str, king: str, duplicates: set[str]) -> None:
    relationships = of(after(*steps), file)
    assert (relationships.king, relationships.duplicate) == (king, duplicates)


def test_relatives_are_listed_by_their_kings() -> None:
    known = after((A, B, ALTERNATE), (C, D, SAME_QUALITY), (B, D, FALSE_POSITIVE))
    assert of(known, A).false_positive == {C}
    assert of(known, D).false_positive == {A, B}
    assert of(after((A, B, SAME_QUALITY), (B, C, POTENTIAL)), C).potential == {A}


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
    assert known.potentials == {frozenset({A, C})}


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
