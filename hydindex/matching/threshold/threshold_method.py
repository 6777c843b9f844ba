"""The method `threshold`: a pair matches if its (MS-)SSIM reaches `similarity_threshold`."""

from collections.abc import Mapping
from typing import ClassVar

from hydindex.common.packed_arrays import pack_array
from hydindex.config.settings import Config
from hydindex.matching.threshold.pyramid import coarse_picture, pack_coarse
from hydindex.matching.threshold.threshold_matcher import COARSE, PREPARED, ThresholdMatcher
from hydindex.records.pictures import PreparedThumbnail
from hydindex.store.file_store import FileStore


class ThresholdMethod:
    """See `hydindex.matching.method.Method`."""

    has_probabilities: ClassVar[bool] = False
    bytes_per_file: ClassVar[int] = 32_000
    preparation_keys: ClassVar[tuple[str, ...]] = (
        "preprocessing.fixedResize",
        "preprocessing.toGray",
        "preprocessing.preBlurSigma",
        "preprocessing.histEq",
        "preprocessing.trimStrength",
        "preprocessing.minKeepFrac",
        "preprocessing.centerFrac",
    )
    comparison_keys: ClassVar[tuple[str, ...]] = (
        "preprocessing.useMSSSIM",
        "similarity_threshold",
    )

    def __init__(self, config: Config) -> None:
        self._config = config

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
        from hydindex.matching.average_hash import average_hash
        from hydindex.matching.decoding import decode_thumbnail
        from hydindex.matching.threshold.preprocessing import preprocess

        try:
            picture = decode_thumbnail(encoded)
        except ValueError as error:
            return str(error)
        prepared = preprocess(picture, self._config.preprocessing)
        return PreparedThumbnail(
            average_hash=average_hash(picture, self._config.ahash.resize),
            blobs={PREPARED: pack_array(prepared), COARSE: pack_coarse(coarse_picture(prepared))},
        )

    def matcher(self, files: FileStore) -> ThresholdMatcher:
        """Return the matcher for files of this store."""
        return ThresholdMatcher(files, self._config)
