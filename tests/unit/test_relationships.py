"""Duplicate groups, alternates, false positives and potentials behave as in Hydrus v681."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hydindex.standin.relationships import FileRelationships, Relationship, Relationships

DECISIONS = [each for each in Relationship if each is not Relationship.POTENTIAL]
A, B, C, D = (letter * 64 for letter in "abcd")


def everywhere(_file_hash: str) -> bool:
    return True


def of(relationships: Relationships, file_hash: str) -> FileRelationships:
    return relationships.relationships_of(file_hash, everywhere)


def pairs(*pairs_of_hashes: tuple[str, str]) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in pairs_of_hashes}


def after(*steps: tuple[str, str, Relationship]) -> Relationships:
    relationships = Relationships()
    for a, b, relationship in steps:
        relationships.set_relationship(a, b, relationship)
    return relationships


def test_a_potential_is_kept_once_and_read_back_on_both_sides() -> None:
    known = after((A, B, Relationship.POTENTIAL), (B, A, Relationship.POTENTIAL))
    assert known.potentials == pairs((A, B))
    assert of(known, A).potential == {B}
    assert of(known, B).potential == {A}


def test_a_file_with_itself_keeps_nothing() -> None:
    assert after((A, A, Relationship.POTENTIAL)).potentials == frozenset()


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_ends_a_potential_for_good(decision: Relationship) -> None:
    known = after((A, B, Relationship.POTENTIAL), (A, B, decision), (A, B, Relationship.POTENTIAL))
    assert known.potentials == frozenset()


def test_a_potential_with_a_member_is_one_with_its_king() -> None:
    known = after((A, B, Relationship.SAME_QUALITY), (B, C, Relationship.POTENTIAL))
    assert known.potentials == pairs((A, C))
    assert of(known, B).potential == {C}
    assert of(known, C).potential == {A}


def test_a_better_file_takes_the_other_group_over_with_its_potentials() -> None:
    known = after((B, C, Relationship.POTENTIAL), (A, B, Relationship.A_BETTER))
    assert of(known, B).king == A
    assert of(known, B).duplicate == {A}
    assert known.potentials == pairs((A, C))


def test_b_better_makes_b_the_king() -> None:
    assert of(after((A, B, Relationship.B_BETTER)), A).king == B


def test_a_member_that_is_better_than_its_king_becomes_king() -> None:
    known = after((A, B, Relationship.A_BETTER), (B, A, Relationship.A_BETTER))
    assert of(known, A).king == B


def test_a_member_worse_than_a_stranger_changes_groups_alone() -> None:
    known = after((A, B, Relationship.A_BETTER), (C, B, Relationship.A_BETTER))
    assert of(known, A).duplicate == frozenset()
    assert of(known, C).duplicate == {B}


def test_two_equals_join_the_group_of_the_one_that_is_no_king() -> None:
    known = after((A, B, Relationship.A_BETTER), (C, B, Relationship.SAME_QUALITY))
    assert of(known, C).king == A


def test_false_positives_hold_between_all_alternates_and_are_listed_by_king() -> None:
    known = after(
        (A, B, Relationship.ALTERNATE),
        (C, D, Relationship.SAME_QUALITY),
        (B, D, Relationship.FALSE_POSITIVE),
    )
    assert of(known, A).false_positive == {C}
    assert of(known, D).false_positive == {A, B}
    known.set_relationship(A, C, Relationship.POTENTIAL)
    assert known.potentials == frozenset()


def test_alternates_of_a_third_are_alternates_and_may_still_be_potential() -> None:
    known = after((A, B, Relationship.ALTERNATE), (B, C, Relationship.ALTERNATE))
    known.set_relationship(A, C, Relationship.POTENTIAL)
    assert of(known, A).alternate == {B, C}
    assert known.potentials == pairs((A, C))


def test_alternates_outdo_a_false_positive() -> None:
    known = after((A, B, Relationship.FALSE_POSITIVE), (A, B, Relationship.ALTERNATE))
    assert of(known, A) == FileRelationships(
        king=A,
        potential=frozenset(),
        duplicate=frozenset(),
        false_positive=frozenset(),
        alternate=frozenset({B}),
    )


def test_duplicates_made_alternates_part() -> None:
    known = after((A, B, Relationship.SAME_QUALITY), (A, B, Relationship.ALTERNATE))
    assert of(known, A).duplicate == frozenset()
    assert of(known, A).alternate == {B}


def test_a_king_out_of_sight_hides_potentials_but_not_the_other_relatives() -> None:
    known = after(
        (A, B, Relationship.A_BETTER),
        (B, C, Relationship.POTENTIAL),
        (B, D, Relationship.ALTERNATE),
    )

    def without_king(file_hash: str) -> bool:
        return file_hash != A

    assert known.relationships_of(C, without_king).potential == frozenset()
    assert known.relationships_of(B, without_king).potential == frozenset()
    assert known.relationships_of(D, without_king).alternate == {B}
    assert known.relationships_of(B, without_king).king == A


def test_only_kings_that_take_potentials_get_them() -> None:
    picky = Relationships(takes_potentials=lambda king: king != B)
    picky.set_relationship(A, B, Relationship.POTENTIAL)
    picky.set_relationship(A, C, Relationship.POTENTIAL)
    assert picky.potentials == pairs((A, C))


def test_dissolving_frees_every_member() -> None:
    known = after(
        (A, B, Relationship.A_BETTER),
        (B, C, Relationship.POTENTIAL),
        (B, D, Relationship.FALSE_POSITIVE),
    )
    known.dissolve(B)
    assert known.potentials == frozenset()
    assert of(known, A) == of(Relationships(), A)
    assert of(known, D) == of(Relationships(), D)


FILES = [letter * 64 for letter in "abcdefg"]
a_file = st.sampled_from(FILES)


class AnyHistory(RuleBasedStateMachine):
    """Whatever is set in whatever order, groups stay groups and decisions are respected."""

    def __init__(self) -> None:
        super().__init__()
        self.relationships = Relationships()

    @rule(a=a_file, b=a_file, relationship=st.sampled_from(Relationship))
    def set_relationship(self, a: str, b: str, relationship: Relationship) -> None:
        self.relationships.set_relationship(a, b, relationship)

    @rule(a=a_file, b=a_file)
    def post(self, a: str, b: str) -> None:
        """A post shows up on both sides unless the two are one, or held to be apart."""
        before = of(self.relationships, a)
        self.relationships.set_relationship(a, b, Relationship.POTENTIAL)
        king_b = of(self.relationships, b).king
        shown = king_b in of(self.relationships, a).potential
        if b in {a, *before.duplicate} or king_b in before.false_positive:
            assert not shown
        elif king_b not in before.alternate:
            assert shown

    @rule(a=a_file, b=a_file, decision=st.sampled_from(DECISIONS))
    def decide_then_post(self, a: str, b: str, decision: Relationship) -> None:
        """A decided pair is no potential and does not become one by a post."""
        before = of(self.relationships, a)
        self.relationships.set_relationship(a, b, decision)
        assert of(self.relationships, b).king not in of(self.relationships, a).potential
        self.relationships.set_relationship(a, b, Relationship.POTENTIAL)
        king_b = of(self.relationships, b).king
        # Hydrus takes no false positive between alternates, so that one decides nothing.
        if decision is not Relationship.FALSE_POSITIVE or king_b not in before.alternate:
            assert king_b not in of(self.relationships, a).potential

    @rule(file=a_file)
    def remove_potentials(self, file: str) -> None:
        self.relationships.remove_potentials(file)
        assert of(self.relationships, file).potential == frozenset()

    @rule(file=a_file)
    def dissolve(self, file: str) -> None:
        self.relationships.dissolve(file)
        assert of(self.relationships, file) == of(Relationships(), file)

    @invariant()
    def every_file_is_in_one_group_with_one_king(self) -> None:
        for file in FILES:
            group = {file, *of(self.relationships, file).duplicate}
            assert of(self.relationships, file).king in group
            for member in group:
                assert {member, *of(self.relationships, member).duplicate} == group
                assert of(self.relationships, member).king == of(self.relationships, file).king

    @invariant()
    def groups_see_each_other_alike(self) -> None:
        for file in FILES:
            mine = of(self.relationships, file)
            for name in ("potential", "false_positive", "alternate"):
                for other in getattr(mine, name):
                    assert of(self.relationships, other).king == other
                    assert mine.king in getattr(of(self.relationships, other), name)

    @invariant()
    def no_group_is_its_own_relative(self) -> None:
        for file in FILES:
            mine = of(self.relationships, file)
            related = mine.potential | mine.false_positive | mine.alternate
            assert not related & {file, *mine.duplicate}
            assert not mine.false_positive & mine.alternate


TestAnyHistory = AnyHistory.TestCase
TestAnyHistory.settings = settings(max_examples=60, stateful_step_count=40)
