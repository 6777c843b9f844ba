"""The method `calibrated`: a pair matches if its probability reaches `decision.min_probability`."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

from hydindex.common.batches import slices
from hydindex.config.settings import Config
from hydindex.matching.blocks import FileIds
from hydindex.matching.calibrated.calibrated_matcher import (
    SIGNATURE,
    SignatureBlock,
    load_signatures,
)
from hydindex.matching.calibrated.descriptor import DESCRIPTOR, DIMENSION, NAME, VERSION
from hydindex.matching.calibrated.model import load_model
from hydindex.matching.candidates import CandidateRules, Positions, find_candidates
from hydindex.matching.pair_positions import files_of_pairs
from hydindex.matching.torch_device import torch_device
from hydindex.records.files import ComparableFiles
from hydindex.records.pictures import PreparedThumbnail
from hydindex.store.file_store import FileStore

# Signatures in memory at a time; matching a pair takes a few kilobytes.
_BLOCK_PAIRS: Final = 2048


class CalibratedMethod:
    """See `hydindex.matching.method.Method`."""

    has_probabilities: ClassVar[bool] = True
    bytes_per_file: ClassVar[int] = 8_000
    preparation_keys: ClassVar[tuple[str, ...]] = ()
    comparison_keys: ClassVar[tuple[str, ...]] = ("decision.min_probability", "frames.enabled")

    def __init__(self, config: Config) -> None:
        self._config = config
        self._gpu = config.compare.gpu

    def require_usable(self) -> None:
        """Check that a named GPU is available, and load the network of the descriptor.

        Raises:
            ConfigError: one of them can't be used.
        """
        from hydindex.matching.calibrated.descriptor import load_network

        if self._gpu:
            torch_device(self._gpu)
        load_network(self._gpu)

    def fingerprints(self) -> Mapping[str, str]:
        """Return the versions of the descriptor and of the model.

        Raises:
            ConfigError: `decision.model` can't be loaded.
        """
        return {
            DESCRIPTOR: f"{NAME} {VERSION}",
            "decision.model": load_model(self._config.decision.model).fingerprint,
        }

    @property
    def min_score(self) -> float:
        """The probability from which a pair matches."""
        return self._config.decision.min_probability

    def prepare(self, encoded: bytes) -> PreparedThumbnail | str:
        """Compute the signature and the descriptor of a thumbnail."""
        # Pillow is slow to import, and most commands don't prepare thumbnails.
        from hydindex.matching.calibrated.descriptor import embed
        from hydindex.matching.calibrated.signature import signature
        from hydindex.matching.decoding import decode_thumbnail

        try:
            picture = decode_thumbnail(encoded)
        except ValueError as error:
            return str(error)
        computed = signature(picture)
        return PreparedThumbnail(
            content_aspect_factor=computed.content_aspect_factor,
            blobs={
                SIGNATURE: computed.views.tobytes(),
                DESCRIPTOR: embed([picture], self._gpu).tobytes(),
            },
        )

    def candidates(
        self, files: FileStore, joining: ComparableFiles, members: ComparableFiles
    ) -> Iterator[tuple[int, ComparableFiles]]:
        """Find the files whose descriptors are similar."""
        from hydindex.matching.calibrated.retrieval import similar_files

        rules = CandidateRules.of(self._config)

        def preselect(sorted_files: ComparableFiles, positions: Positions) -> Iterator[Positions]:
            vectors = files.vectors(sorted_files.ids, DESCRIPTOR, DIMENSION)
            return similar_files(vectors, sorted_files, positions, rules, gpu=self._gpu)

        return find_candidates(joining, members, rules, preselect)

    def blocks(self, files: FileStore, first: FileIds, second: FileIds) -> Iterator[SignatureBlock]:
        """Load the signatures of pairs."""
        config = self._config
        for part in slices(len(first), _BLOCK_PAIRS):
            file_ids, first_at, second_at = files_of_pairs(first[part], second[part])
            yield SignatureBlock(
                file_ids=file_ids,
                signatures=load_signatures(files, file_ids),
                first=first_at,
                second=second_at,
                aspect_ratio_tolerance=CandidateRules.of(config).aspect_ratio_tolerance,
                model=load_model(config.decision.model),
                min_probability=config.decision.min_probability,
                verify_frames=config.frames.enabled,
            )
