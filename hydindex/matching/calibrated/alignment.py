"""Align the pictures of two files: lay one on the other so that they agree best.

Signatures hold 32x32 grey views of the whole picture and of its content without bars. For each
pair, these alignments are tried, each also with one view mirrored: views of the same shape, and, if
no contents have the same shape, the content of one file on the middle of the other's, cut to that
shape. So a copy cut from 16:9 to 4:3, and one shown sharp on its own blurred picture, both find the
part that they share. The alignment whose coarsest structure agrees best counts.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hydindex.common.batches import slices
from hydindex.matching.calibrated.aligned_views import AlignedViews
from hydindex.matching.calibrated.view_numbers import (
    ALL,
    CONTENT,
    MIRRORED,
    WHOLE,
    cut_views,
    is_mirrored,
    positions_of_files,
    unmirrored,
    view_numbers,
)
from hydindex.matching.calibrated.windows import (
    Floats,
    Positions,
    Windows,
    correlation,
    detail_information,
    structure,
)
from hydindex.matching.candidates import aspect_ratios_agree
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.records.pictures import SignatureBatch

_SIDE_PX: Final = 8
# Views of the same shape: by how much their aspect ratios may differ, as a share of the larger.
_SAME_SHAPE: Final = 0.05
# What must remain of a picture that was cut: from 16:9 to 9:16 remains 0.32.
_MIN_CUT: Final = ALL // 4
# Scenery resembles its mirror image, and most pictures are darker towards their edges. So these
# alignments need at least this structure, must agree better than others by the margin, …
_MIN_MIRRORED_STRUCTURE: Final = 0.9
_MIRROR_MARGIN: Final = 0.1
_MIN_CUT_STRUCTURE: Final = 0.8
_CUT_MARGIN: Final = 0.05
# … correlate at least this much (a test that is much cheaper), …
_MIN_CORRELATION: Final = 0.6
# … and a cut picture this much information in its details, in nats per pixel: of a gradient, every
# part looks alike.
_MIN_CUT_DETAIL: Final = 0.5
# Attempts at a time; one takes some 4 kB.
_BLOCK_ATTEMPTS: Final = 2048


def align(
    signatures: SignatureBatch, first: Positions, second: Positions, *, min_structure: float
) -> AlignedViews:
    """Find the best alignment of pairs, given by the positions of their files.

    Pairs whose coarsest structure agrees less than `min_structure` in every alignment are dropped.
    """
    kinds = list(_attempts(signatures, first, second))
    rows, left, right = (
        np.concatenate([getattr(each, name) for each in kinds])
        for name in ("rows", "left", "right")
    )
    lengths = [len(each.rows) for each in kinds]
    min_structures = np.repeat([each.min_structure for each in kinds], lengths)
    is_cut = np.repeat([each.is_cut for each in kinds], lengths)
    agreement = _structure(signatures, left, right, is_cut | is_mirrored(right))
    agreement -= np.repeat([each.margin for each in kinds], lengths)
    possible = agreement >= np.maximum(min_structures, min_structure)
    possible[possible & is_cut] = _have_details(
        signatures, left[possible & is_cut], right[possible & is_cut]
    )
    tried = np.flatnonzero(possible)
    # Of two that agree equally, the first attempt counts.
    tried = tried[np.lexsort((tried, -agreement[tried], rows[tried]))]
    aligned, best = np.unique(rows[tried], return_index=True)
    return AlignedViews(signatures, aligned, left[tried[best]], right[tried[best]])


@dataclass(frozen=True, slots=True)
class _Attempts:
    """One kind of alignment for some of the pairs (`rows`): their views by number."""

    rows: Positions
    left: Positions
    right: Positions
    is_cut: bool
    is_mirrored: bool

    @property
    def margin(self) -> float:
        """By how much structure must agree better than in other alignments."""
        if self.is_mirrored:
            return _MIRROR_MARGIN
        return _CUT_MARGIN if self.is_cut else 0.0

    @property
    def min_structure(self) -> float:
        """The structure, less the margin, from which the alignment is possible."""
        if self.is_mirrored:
            return _MIN_MIRRORED_STRUCTURE - _MIRROR_MARGIN
        return _MIN_CUT_STRUCTURE - _CUT_MARGIN if self.is_cut else -np.inf


def _attempts(
    signatures: SignatureBatch, first: Positions, second: Positions
) -> Iterator[_Attempts]:
    whole, content = signatures.aspect_ratio, signatures.content_aspect_ratio
    first_has_bars, second_has_bars = signatures.has_bars[first], signatures.has_bars[second]
    same_content_shape = _same_shape(content[first], content[second])
    both_have_bars = first_has_bars & second_has_bars
    # Bars agree with bars, whatever is between them: so contents of the same shape come first.
    wholes = (first_has_bars | second_has_bars) & ~same_content_shape
    ratio = content[second] / content[first]
    shares = np.rint(ALL * np.minimum(ratio, 1 / ratio))
    can_be_cut = ~same_content_shape & (shares >= _MIN_CUT)  # false where the shape is unknown
    # The second file is narrower: the first lost its sides, or the second its top and bottom.
    is_narrower = ratio < 1
    for mirrored in (False, True):
        side = MIRRORED if mirrored else 0
        for mask, first_view, second_view in (
            (same_content_shape, CONTENT, CONTENT),
            (both_have_bars & _same_shape(content[first], whole[second]), CONTENT, WHOLE),
            (both_have_bars & _same_shape(whole[first], content[second]), WHOLE, CONTENT),
            (wholes & _same_shape(whole[first], whole[second]), WHOLE, WHOLE),
        ):
            (rows,) = np.nonzero(mask)
            left = view_numbers(first[rows], first_view)
            right = view_numbers(second[rows], second_view + side)
            yield _Attempts(rows, left, right, is_cut=False, is_mirrored=mirrored)
        (rows,) = np.nonzero(can_be_cut)
        share = shares[rows].astype(np.intp)
        sides_cut = np.where(is_narrower[rows], share, ALL), np.where(is_narrower[rows], ALL, share)
        uncut = view_numbers(first[rows], CONTENT), view_numbers(second[rows], CONTENT + side)
        cut_first = view_numbers(first[rows], CONTENT, *sides_cut)
        cut_second = view_numbers(second[rows], CONTENT + side, *sides_cut[::-1])
        yield _Attempts(rows, cut_first, uncut[1], is_cut=True, is_mirrored=mirrored)
        yield _Attempts(rows, uncut[0], cut_second, is_cut=True, is_mirrored=mirrored)


def _same_shape(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """Compare aspect ratios; an unknown one may be any."""
    return aspect_ratios_agree(a, b, _SAME_SHAPE) | np.isnan(a) | np.isnan(b)


def _structure(
    signatures: SignatureBatch, left: Positions, right: Positions, must_correlate: NDArray[np.bool_]
) -> Floats:
    """Return how well the coarsest structure of pairs of views agrees.

    -1 where the views must correlate, but don't.
    """
    numbers, i, j = files_of_pairs(left, unmirrored(right))
    windows = Windows.of(cut_views(signatures, numbers), _SIDE_PX).with_mirrored()
    j = j + len(numbers) * is_mirrored(right)
    tried = ~must_correlate
    tried[must_correlate] = (
        correlation(windows, i[must_correlate], j[must_correlate]) >= _MIN_CORRELATION
    )
    agreement = np.full(len(left), -1.0)
    (rows,) = np.nonzero(tried)
    for part in slices(len(rows), _BLOCK_ATTEMPTS):
        agreement[rows[part]] = structure(windows, i[rows[part]], j[rows[part]])
    return agreement


def _have_details(
    signatures: SignatureBatch, left: Positions, right: Positions
) -> NDArray[np.bool_]:
    """Return which pairs of views come from contents with details."""
    files, i, j = files_of_pairs(positions_of_files(left), positions_of_files(right))
    detailed = detail_information(signatures.views[files, CONTENT]) >= _MIN_CUT_DETAIL
    return np.asarray(detailed[i] & detailed[j])
