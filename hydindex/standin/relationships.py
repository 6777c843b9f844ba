"""The duplicate relationships of Hydrus v681, in memory.

Every file is in exactly one *group* of duplicates, at first alone; the best file of a group is its
*king*. Every group is in exactly one *family* of alternates. Files have no relationships of their
own:

- potential duplicates are pairs of groups,
- confirmed alternates are pairs of groups, which are then in one family,
- false positives are pairs of families.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum


class Relationship(IntEnum):
    """A relationship between two files, by its number in the Client API."""

    POTENTIAL = 0
    FALSE_POSITIVE = 1
    SAME_QUALITY = 2
    ALTERNATE = 3
    A_BETTER = 4
    B_BETTER = 7


@dataclass(frozen=True, slots=True)
class FileRelationships:
    """The relatives of one file that are visible in a file domain, by hash.

    `king` may be invisible. `potential`, `false_positive` and `alternate` hold one hash per group,
    usually its king.
    """

    king: str
    potential: frozenset[str]
    duplicate: frozenset[str]
    false_positive: frozenset[str]
    alternate: frozenset[str]


@dataclass(eq=False, slots=True)
class _Family:
    groups: set["_Group"] = field(default_factory=set)
    false_positives: set["_Family"] = field(default_factory=set)


@dataclass(eq=False, slots=True)
class _Group:
    king: str
    members: set[str]
    family: _Family
    potentials: set["_Group"] = field(default_factory=set)
    confirmed_alternates: set["_Group"] = field(default_factory=set)


class Relationships:
    """All relationships of a library.

    A potential is kept only if `takes_potentials` is true of the kings of both groups.
    """

    def __init__(self, takes_potentials: Callable[[str], bool] = lambda _king: True) -> None:
        self._takes_potentials = takes_potentials
        self._group_of: dict[str, _Group] = {}

    @property
    def potentials(self) -> frozenset[frozenset[str]]:
        """Every potential pair, as the kings of its two groups."""
        return frozenset(
            frozenset({group.king, other.king})
            for group in self._group_of.values()
            for other in group.potentials
        )

    def set_relationship(self, a: str, b: str, relationship: Relationship) -> None:
        """Set a relationship between two files, with all its consequences in Hydrus.

        Like Hydrus, silently ignore what cannot be set.
        """
        if relationship is Relationship.B_BETTER:
            a, b, relationship = b, a, Relationship.A_BETTER
        group_a, group_b = self._group(a), self._group(b)
        # Hydrus removes the potential first. If it is not added again below it is lost: v682 loses
        # an old pair of videos that is posted again.
        _unlink_potential(group_a, group_b)
        if a == b:
            return
        match relationship:
            case Relationship.POTENTIAL:
                self._add_potential(group_a, group_b)
            case Relationship.FALSE_POSITIVE:
                _set_false_positive(group_a.family, group_b.family)
            case Relationship.ALTERNATE:
                self._set_alternate(a, b)
            case Relationship.A_BETTER:
                self._set_better(a, b)
            case Relationship.SAME_QUALITY:
                self._set_same_quality(a, b)

    def remove_potentials(self, file_hash: str) -> None:
        """Remove every potential pair of the file's group."""
        _unlink_all_potentials(self._group(file_hash))

    def king_of(self, file_hash: str) -> str:
        """Return the king of the file's group."""
        return self._group(file_hash).king

    def relationships_of(self, file_hash: str, visible: Callable[[str], bool]) -> FileRelationships:
        """Return the relatives of a file that are `visible`."""
        group = self._group(file_hash)
        # A potential is shown only if both kings are visible. In the other lists any visible member
        # represents a group with an invisible king.
        potentials = group.potentials if visible(group.king) else set()
        false_positives = {
            other for family in group.family.false_positives for other in family.groups
        }
        return FileRelationships(
            king=group.king,
            potential=frozenset(other.king for other in potentials if visible(other.king)),
            duplicate=frozenset(filter(visible, group.members - {file_hash})),
            false_positive=_representatives(false_positives, visible),
            alternate=_representatives(group.family.groups - {group}, visible),
        )

    def _group(self, file_hash: str) -> _Group:
        if file_hash not in self._group_of:
            group = _Group(king=file_hash, members={file_hash}, family=_Family())
            group.family.groups.add(group)
            self._group_of[file_hash] = group
        return self._group_of[file_hash]

    def _add_potential(self, a: _Group, b: _Group) -> None:
        # Only confirmed alternates are refused. Two alternates of a third group are in one family
        # too, and may still become potentials.
        if a is b or b.family in a.family.false_positives or b in a.confirmed_alternates:
            return
        if self._takes_potentials(a.king) and self._takes_potentials(b.king):
            a.potentials.add(b)
            b.potentials.add(a)

    def _set_alternate(self, a: str, b: str) -> None:
        if self._group(a) is self._group(b):
            self._leave_group(b if self._group(a).king == a else a)
        _confirm_alternates(self._group(a), self._group(b))

    def _set_better(self, a: str, b: str) -> None:
        if self._group(a) is self._group(b):
            if b == self._group(b).king:
                self._group(b).king = a
            return
        if b != self._group(b).king:
            self._leave_group(b)
        self._merge(self._group(a), self._group(b))

    def _set_same_quality(self, a: str, b: str) -> None:
        if self._group(a) is self._group(b):
            return
        if a == self._group(a).king and b != self._group(b).king:
            a, b = b, a
        self._set_better(a, b)

    def _leave_group(self, member: str) -> None:
        """Remove a file that is not the king from its group; it keeps no relationship."""
        self._group_of.pop(member).members.remove(member)

    def _merge(self, superior: _Group, inferior: _Group) -> None:
        """Move all of `inferior`, including its potentials, into `superior`."""
        if superior.family is not inferior.family:
            _confirm_alternates(superior, inferior)
        for other in inferior.potentials - {superior}:
            self._add_potential(superior, other)
        for other in inferior.confirmed_alternates - {superior}:
            _confirm_alternates(superior, other)
        _unlink_all_potentials(inferior)
        for other in inferior.confirmed_alternates:
            other.confirmed_alternates.remove(inferior)
        inferior.family.groups.remove(inferior)
        superior.members |= inferior.members
        self._group_of.update(dict.fromkeys(inferior.members, superior))


def _representatives(groups: set[_Group], visible: Callable[[str], bool]) -> frozenset[str]:
    """Return a visible hash per group: its king or else (Hydrus picks any member) the first."""
    hashes = (
        group.king if visible(group.king) else min(filter(visible, group.members), default=None)
        for group in groups
    )
    return frozenset(file_hash for file_hash in hashes if file_hash is not None)


def _unlink_potential(a: _Group, b: _Group) -> None:
    a.potentials.discard(b)
    b.potentials.discard(a)


def _unlink_all_potentials(group: _Group) -> None:
    for other in set(group.potentials):
        _unlink_potential(group, other)


def _set_false_positive(a: _Family, b: _Family) -> None:
    """Make two families false positives; Hydrus ignores this within one family."""
    if a is b:
        return
    for group in a.groups:
        for other in group.potentials & b.groups:
            _unlink_potential(group, other)
    a.false_positives.add(b)
    b.false_positives.add(a)


def _confirm_alternates(a: _Group, b: _Group) -> None:
    """Make two groups alternates, which merges their families and overrides a false positive.

    The false positives of `b`'s family move to `a`'s before the families are merged. So a potential
    between `b` and a false positive of `a` outlives the merge, in Hydrus as here.
    """
    if a is b:
        return
    _unlink_potential(a, b)
    family, joining = a.family, b.family
    if family is not joining:
        for apart in joining.false_positives - {family}:
            _set_false_positive(family, apart)
        for apart in joining.false_positives:
            apart.false_positives.remove(joining)
        for group in joining.groups:
            group.family = family
        family.groups |= joining.groups
    a.confirmed_alternates.add(b)
    b.confirmed_alternates.add(a)
