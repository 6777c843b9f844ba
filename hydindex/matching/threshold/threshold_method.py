"""The method `threshold`: a pair matches if its (MS-)SSIM reaches `similarity_threshold`."""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import ClassVar, Final

import numpy as np

from hydindex.common.batches import slices
from hydindex.common.packed_arrays import pack_array
from hydindex.config.settings import Config
from hydindex.matching.blocks import BlockLoader, FileIds, MatcherCounts
from hydindex.matching.candidates import CandidateRules, Positions, find_candidates
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.matching.threshold.preprocessing import preprocess, preprocessed_shape
from hydindex.matching.threshold.pyramid import (
    coarse_picture,
    coarse_shape,
    pack_coarse,
    unpack_coarse,
)
from hydindex.matching.threshold.score_bounds import ScoreBounds
from hydindex.matching.threshold.threshold_matcher import (
    COARSE,
    PREPARED,
    PairBlock,
    block_slices,
)
from hydindex.matching.torch_device import torch_device
from hydindex.records.files import ComparableFiles
from hydindex.records.pictures import PreparedThumbnail
from hydindex.store.file_store import FileStore, damaged_picture

# Coarse pictures in memory at a time; a file may have a hundred thousand candidates. With the
# default settings this is enough for 10,000 pairs.
_COARSE_PIXELS: Final = 8 << 20
_MIN_COARSE_PAIRS: Final = 256


class ThresholdMethod:
    """See `hydindex.matching.method.Method`."""

    has_probabilities: ClassVar[bool] = False
    bytes_per_file: ClassVar[int] = 32_000
    preparation_keys: ClassVar[tuple[str, ...]] = (
        "ahash.resize",
        "preprocessing.fixedResize",
        "preprocessing.toGray",
        "preprocessing.preBlurSigma",
        "preprocessing.histEq",
        "preprocessing.trimStrength",
        "preprocessing.minKeepFrac",
        "preprocessing.centerFrac",
    )
    comparison_keys: ClassVar[tuple[str, ...]] = (
        "filters.use_ahash_prefilter",
        "ahash.hammingMax",
        "preprocessing.useMSSSIM",
        "similarity_threshold",
    )

    def __init__(self, config: Config) -> None:
        self._config = config

    def require_usable(self) -> None:
        """Check that a named device is available; on a cluster, the workers need it instead.

        Raises:
            ConfigError: it isn't.
        """
        compare = self._config.compare
        if compare.gpu and compare.scheduler is None:
            torch_device(compare.gpu)

    def fingerprints(self) -> Mapping[str, str]:
        """Return nothing: the config names no files for this method."""
        return {}

    @property
    def min_score(self) -> float:
        """The similarity from which a pair matches."""
        return self._config.similarity_threshold

    def prepare(self, encoded: bytes) -> PreparedThumbnail | str:
        """Hash and preprocess a thumbnail; pack the picture and its coarse version."""
        # Pillow is slow to import, and most commands don't prepare thumbnails.
        from hydindex.matching.decoding import decode_thumbnail
        from hydindex.matching.threshold.average_hash import average_hash

        try:
            picture = decode_thumbnail(encoded)
        except ValueError as error:
            return str(error)
        prepared = preprocess(picture, self._config.preprocessing)
        return PreparedThumbnail(
            average_hash=average_hash(picture, self._config.ahash.resize),
            blobs={PREPARED: pack_array(prepared), COARSE: pack_coarse(coarse_picture(prepared))},
        )

    def candidates(
        self,
        files: FileStore,  # noqa: ARG002
        joining: ComparableFiles,
        members: ComparableFiles,
    ) -> Iterator[tuple[int, ComparableFiles]]:
        """Find the files whose average hashes are similar."""
        from hydindex.matching.threshold.average_hash import similar_hashes

        rules = CandidateRules.of(self._config)
        if not self._config.filters.use_ahash_prefilter:
            return find_candidates(joining, members, rules, rules.preselect)
        hamming_max = self._config.ahash.hamming_max

        def preselect(sorted_files: ComparableFiles, positions: Positions) -> Iterator[Positions]:
            return similar_hashes(sorted_files, positions, rules, hamming_max)

        return find_candidates(joining, members, rules, preselect)

    def block_loader(self, files: FileStore) -> BlockLoader:
        """Return the function that loads pairs."""
        return partial(self._blocks, files)

    def _blocks(self, files: FileStore, first: FileIds, second: FileIds) -> Iterator[PairBlock]:
        """Drop the pairs that the coarse levels of MS-SSIM rule out, and load the rest."""
        if not self._config.preprocessing.use_ms_ssim:
            yield from self._load(files, first, second, None, MatcherCounts())
            return
        shape = coarse_shape(preprocessed_shape(self._config.preprocessing))
        threshold = self._config.similarity_threshold
        pairs_at_once = max(_MIN_COARSE_PAIRS, _COARSE_PIXELS // math.prod(shape))
        for part in slices(len(first), pairs_at_once):
            bounds = _coarse_bounds(files, first[part], second[part], shape, threshold)
            counts = MatcherCounts(bounds.pairs_per_level)
            (rows,) = np.nonzero(bounds.may_match(threshold))
            yield from self._load(
                files, first[part][rows], second[part][rows], bounds[rows], counts
            )

    def _load(
        self,
        files: FileStore,
        first: FileIds,
        second: FileIds,
        bounds: ScoreBounds | None,
        counts: MatcherCounts,
    ) -> Iterator[PairBlock]:
        """Load pairs in blocks; at least one, which carries the counts."""
        shape = preprocessed_shape(self._config.preprocessing)
        for part in block_slices(first, second, math.prod(shape)):
            file_ids, first_at, second_at = files_of_pairs(first[part], second[part])
            yield PairBlock(
                file_ids=file_ids,
                packed=files.with_pictures(file_ids, PREPARED)[1],
                shape=shape,
                first=first_at,
                second=second_at,
                bounds=None if bounds is None else bounds[part],
                threshold=self._config.similarity_threshold,
                device=self._config.compare.device,
                counts=counts,
            )
            counts = MatcherCounts()


def _coarse_bounds(
    files: FileStore, first: FileIds, second: FileIds, shape: tuple[int, ...], threshold: float
) -> ScoreBounds:
    from hydindex.matching.threshold.ms_ssim import coarse_levels

    file_ids, first_at, second_at = files_of_pairs(first, second)
    pictures = np.empty((len(file_ids), *shape), np.uint16)
    _, packed = files.with_pictures(file_ids, COARSE)
    for position, file_id in enumerate(file_ids.tolist()):
        try:
            pictures[position] = unpack_coarse(packed[position], shape)
        except ValueError:
            raise damaged_picture(file_id) from None
    return coarse_levels(pictures, first_at, second_at, threshold)
