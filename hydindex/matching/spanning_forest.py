"""Finds the pairs that join groups of copies, without those that follow from them."""

from collections.abc import Iterable, Sequence

from hydindex.records.pairs import FilePair


def spanning(pairs: Sequence[FilePair], joined: Iterable[FilePair]) -> list[bool]:
    """Tell which of some pairs are needed, the strongest being named first.

    Those that are make, with the `joined` ones, a spanning forest of the strongest links: whichever
    files any of the pairs join, these join as well. Source: J. B. Kruskal, "On the shortest
    spanning subtree of a graph", 1956.
    """
    from scipy.cluster.hierarchy import DisjointSet  # slow to import, and seldom needed

    joined = list(joined)
    files = {file_id for each in (*pairs, *joined) for file_id in each.ids}
    groups = DisjointSet(files)
    for each in joined:
        groups.merge(*each.ids)
    return [bool(groups.merge(*each.ids)) for each in pairs]
