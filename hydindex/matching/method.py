"""A method: how thumbnails are prepared, compared and matched."""

from collections.abc import Iterator, Mapping
from typing import ClassVar, Protocol

from hydindex.config.settings import Config
from hydindex.matching.blocks import BlockLoader
from hydindex.matching.calibrated.calibrated_method import CalibratedMethod
from hydindex.matching.threshold.threshold_method import ThresholdMethod
from hydindex.records.files import ComparableFiles
from hydindex.records.pictures import PreparedThumbnail
from hydindex.store.file_store import FileStore


class Method(Protocol):
    """Everything that depends on `decision.method`."""

    has_probabilities: ClassVar[bool]
    """Whether scores are probabilities, computed from features that are stored with the pair."""
    bytes_per_file: ClassVar[int]
    """About how much space a file takes in the index."""
    preparation_keys: ClassVar[tuple[str, ...]]
    """Config keys whose change makes it necessary to prepare all thumbnails again."""
    comparison_keys: ClassVar[tuple[str, ...]]
    """Config keys whose change makes it necessary to compare all files again."""

    def fingerprints(self) -> Mapping[str, str]:
        """Return recipe entries for files that the config names, such as a model."""
        ...

    @property
    def min_score(self) -> float:
        """The score from which a pair matches."""
        ...

    def prepare(self, encoded: bytes) -> PreparedThumbnail | str:
        """Prepare a thumbnail (JPEG or PNG), or return the reason why it is unusable."""
        ...

    def require_usable(self) -> None:
        """Check that the method can run on this machine.

        Raises:
            ConfigError: it can't.
        """
        ...

    def candidates(
        self, files: FileStore, joining: ComparableFiles, members: ComparableFiles
    ) -> Iterator[tuple[int, ComparableFiles]]:
        """Find the files to score each joining file against (see `find_candidates`)."""
        ...

    def block_loader(self, files: FileStore) -> BlockLoader:
        """Return the function that loads pairs for one comparison.

        The pictures in the index must not change while it is in use. Pairs that can't match may be
        dropped.
        """
        ...


METHODS: Mapping[str, type[ThresholdMethod] | type[CalibratedMethod]] = {
    "threshold": ThresholdMethod,
    "calibrated": CalibratedMethod,
}


def method_for(config: Config) -> Method:
    """Return the method that the config names."""
    return METHODS[config.decision.method](config)
