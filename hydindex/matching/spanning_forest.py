"""Find the pairs that connect groups of copies, without redundant ones."""

from collections.abc import Iterable, Sequence

from hydindex.records.pairs import FilePair


def spanning(pairs: Sequence[FilePair], joined: Iterable[FilePair]) -> list[bool]:
    """Return which pairs are needed to connect the same files; the strongest pair comes first.

    With the pairs already `joined`, the needed ones are a spanning forest of the strongest links.

    Source: J. B. Kruskal, "On the shortest spanning subtree of a graph", 1956.
    """
    from scipy.cluster.hierarchy import DisjointSet  # slow to import, and rarely needed

    joined = list(joined)
    files = {file_id for each in (*pairs, *joined) for file_id in each.ids}
    groups = DisjointSet(files)
    for each in joined:
        groups.merge(*each.ids)
    return [bool(groups.merge(*each.ids)) for each in pairs]
