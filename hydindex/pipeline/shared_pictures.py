"""Find pictures that many files share which agree in nothing else: covers, logos, black frames.

Two files *disagree* if their thumbnails match, but their durations differ by more than containers
and frame rates explain, and frames did not confirm the pair. Copies whose beginning was cut off
disagree too, but they are few, or fall into few durations. So the picture of a file is *shared* if

- at least MIN_PARTNERS files disagree with it,
- they are more than those that agree with it, and
- among it and its matches are MIN_DURATIONS durations that all differ from each other.

A pair is held back if the picture of either file is shared: a file at the edge of a crowd has
fewer partners. An equal duration does not confirm such a pair. Of 150 files whose durations are
spread over a second, about 880 pairs are equal to a frame of 40 ms by chance, and 11 to 430 to the
millisecond.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.records.pair_states import PairState
from hydindex.records.pairs import FilePair, MatchingPartners
from hydindex.store.store import Store

MIN_PARTNERS: Final = 8
MIN_DURATIONS: Final = 6
# Above the length of a frame at 10 per second, and above what containers add to the audio.
SAME_LENGTH_MS: Final = 100.0


@dataclass(frozen=True, slots=True)
class SharedPicture:
    """The files that pairs connect which are held back, in the order of their ids."""

    file_ids: Sequence[int]
    pair_count: int


def files_with_shared_picture(store: Store) -> NDArray[np.int64]:
    """Return the ids of the files whose picture is shared, of those with a pair to be posted."""
    return find_shared(store.shared_pictures.partners(MIN_PARTNERS))


def find_shared(partners: MatchingPartners) -> NDArray[np.int64]:
    """Return the ids of the files whose picture is shared, in order. No I/O."""
    order = np.lexsort((partners.duration_difference_ms, partners.file_ids))
    difference_ms = partners.duration_difference_ms[order]
    disagree = ~partners.is_confirmed[order] & (np.abs(difference_ms) > SAME_LENGTH_MS)
    file_ids, starts, counts = np.unique(
        partners.file_ids[order], return_index=True, return_counts=True
    )
    if not len(file_ids):
        return file_ids
    disagreeing = np.add.reduceat(disagree.astype(np.int64), starts)
    is_crowded = (disagreeing >= MIN_PARTNERS) & (2 * disagreeing > counts)
    return np.array(
        [
            file_id
            for file_id, start, count in zip(
                file_ids[is_crowded], starts[is_crowded], counts[is_crowded], strict=True
            )
            if _has_many_durations(difference_ms[start : start + count])
        ],
        np.int64,
    )


def _has_many_durations(difference_ms: NDArray[np.float64]) -> bool:
    """Return whether MIN_DURATIONS differ from each other, with the file's own; sorted ones."""
    durations_ms = np.insert(difference_ms, np.searchsorted(difference_ms, 0.0), 0.0)
    position = 0
    for _ in range(MIN_DURATIONS - 1):
        # The nearest one that differs from the last: no other choice leaves room for more.
        longer_ms = durations_ms[position] + SAME_LENGTH_MS
        position = int(np.searchsorted(durations_ms, longer_ms, side="right"))
        if position == len(durations_ms):
            return False
    return True


def shared_pictures(
    store: Store, states: Sequence[PairState] = (), min_score: float | None = None
) -> list[SharedPicture]:
    """Group the pairs that are held back by the picture that their files share.

    The picture with the most pairs comes first. Only pairs with the states (empty: all) and at
    least the score count.
    """
    file_ids = files_with_shared_picture(store)
    return group_by_picture(store.shared_pictures.pairs(file_ids, states, min_score))


def group_by_picture(pairs: Sequence[FilePair]) -> list[SharedPicture]:
    """Group pairs by the picture that their files share, the one with the most pairs first."""
    if not pairs:
        return []
    # Slow to import, and rarely needed.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    ids, positions = np.unique([each.ids for each in pairs], return_inverse=True)
    low, high = positions.reshape(-1, 2).T
    graph = coo_array((np.ones(len(pairs), np.bool_), (low, high)), (len(ids), len(ids)))
    number, labels = connected_components(graph, directed=False)
    pair_counts = np.bincount(labels[low], minlength=number)
    by_label = np.argsort(labels, kind="stable")
    files = np.split(ids[by_label], np.cumsum(np.bincount(labels))[:-1])
    return [
        SharedPicture(files[label].tolist(), int(pair_counts[label]))
        for label in np.argsort(-pair_counts, kind="stable").tolist()
    ]
