"""The method `calibrated`: a pair matches if its probability reaches `decision.min_probability`."""

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import ClassVar, Final

from hydindex.common.batches import slices
from hydindex.config.sections import Compare
from hydindex.config.settings import Config
from hydindex.matching.blocks import BlockLoader, FileIds
from hydindex.matching.calibrated.calibrated_matcher import (
    SIGNATURE,
    SignatureBlock,
)
from hydindex.matching.calibrated.descriptor import DESCRIPTOR, Descriptor
from hydindex.matching.calibrated.efficientnet import efficientnet_lite0
from hydindex.matching.calibrated.model import load_model
from hydindex.matching.calibrated.signature_cache import SignatureCache
from hydindex.matching.calibrated.sscd import sscd
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
    preparation_keys: ClassVar[tuple[str, ...]] = ("compare.descriptor",)
    comparison_keys: ClassVar[tuple[str, ...]] = ("decision.min_probability", "frames.enabled")

    def __init__(self, config: Config) -> None:
        self._config = config
        self._gpu = config.compare.gpu

    @cached_property
    def _descriptor(self) -> Descriptor:
        return descriptor_for(self._config.compare)

    def require_usable(self) -> None:
        """Check that a named GPU is available, and load the network of the descriptor.

        Raises:
            ConfigError: one of them can't be used.
        """
        if self._gpu:
            torch_device(self._gpu)
        self._descriptor.load()

    def fingerprints(self) -> Mapping[str, str]:
        """Return what identifies the descriptor and the model.

        Raises:
            ConfigError: `compare.sscd_model` can't be read, or `decision.model` can't be loaded.
        """
        return {
            "compare.descriptor": self._descriptor.fingerprint,
            "decision.model": load_model(self._config.decision.model).fingerprint,
        }

    @property
    def min_score(self) -> float:
        """The probability from which a pair matches."""
        return self._config.decision.min_probability

    def prepare(self, encoded: bytes) -> PreparedThumbnail | str:
        """Compute the signature and the descriptor of a thumbnail."""
        # Pillow is slow to import, and most commands don't prepare thumbnails.
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
                DESCRIPTOR: self._descriptor.embed([picture]).tobytes(),
            },
        )

    def candidates(
        self, files: FileStore, joining: ComparableFiles, members: ComparableFiles
    ) -> Iterator[tuple[int, ComparableFiles]]:
        """Find the files whose descriptors are similar."""
        from hydindex.matching.calibrated.retrieval import similar_files

        rules, descriptor = CandidateRules.of(self._config), self._descriptor

        def preselect(sorted_files: ComparableFiles, positions: Positions) -> Iterator[Positions]:
            vectors = files.vectors(sorted_files.ids, DESCRIPTOR, descriptor.dimension)
            min_similarity = descriptor.min_similarity
            return similar_files(vectors, sorted_files, positions, rules, min_similarity, self._gpu)

        return find_candidates(joining, members, rules, preselect)

    def block_loader(self, files: FileStore) -> BlockLoader:
        """Return the function that loads the signatures of pairs."""
        return partial(self._blocks, SignatureCache(files))

    def _blocks(
        self, signatures: SignatureCache, first: FileIds, second: FileIds
    ) -> Iterator[SignatureBlock]:
        config = self._config
        for part in slices(len(first), _BLOCK_PAIRS):
            file_ids, first_at, second_at = files_of_pairs(first[part], second[part])
            yield SignatureBlock(
                file_ids=file_ids,
                signatures=signatures.load(file_ids),
                first=first_at,
                second=second_at,
                model=load_model(config.decision.model),
                min_probability=config.decision.min_probability,
                verify_frames=config.frames.enabled,
            )


def descriptor_for(compare: Compare) -> Descriptor:
    """Return the descriptor that the config names.

    Raises:
        ConfigError: `compare.sscd_model` can't be read.
    """
    if compare.descriptor == "sscd":
        return sscd(compare.sscd_model, compare.gpu)
    return efficientnet_lite0(compare.gpu)
