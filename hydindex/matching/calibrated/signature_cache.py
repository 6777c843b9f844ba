"""Keep the signatures that were loaded last."""

from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hydindex.matching.blocks import FileIds
from hydindex.matching.calibrated.calibrated_matcher import load_signatures
from hydindex.records.pictures import VIEW_PX, SignatureBatch
from hydindex.store.file_store import FileStore

# 2 KB each. Of a million files, as many can have durations within a second of each other.
_MAX_FILES: Final = 160_000


class SignatureCache:
    """Loads signatures, most of them once: files of similar durations are compared together.

    Reading a signature from SQLite can take longer than matching a pair. The signatures in the
    index must not change meanwhile.
    """

    def __init__(self, files: FileStore) -> None:
        self._files = files
        self._row_of: dict[int, int] = {}
        # Memory that no signature has reached takes no space.
        self._signatures = SignatureBatch(
            duration_ms=np.empty(_MAX_FILES),
            aspect_ratio=np.empty(_MAX_FILES),
            content_aspect_ratio=np.empty(_MAX_FILES),
            has_bars=np.empty(_MAX_FILES, np.bool_),
            views=np.empty((_MAX_FILES, 2, VIEW_PX, VIEW_PX), np.uint8),
        )

    def load(self, ids: FileIds) -> SignatureBatch:
        """Return the signatures of at most _MAX_FILES files, sorted by their ids.

        Raises:
            IndexUnusable: the index has no valid signature for one of them.
        """
        wanted = ids.tolist()
        missing = [file_id for file_id in wanted if file_id not in self._row_of]
        if len(self._row_of) + len(missing) > _MAX_FILES:
            self._row_of.clear()
            missing = wanted
        if missing:
            self._add(missing)
        rows = np.array([self._row_of[file_id] for file_id in wanted], np.intp)
        return SignatureBatch(*(values[rows] for values in _arrays(self._signatures)))

    def _add(self, ids: list[int]) -> None:
        loaded = load_signatures(self._files, np.array(ids, np.int64))
        start, stop = len(self._row_of), len(self._row_of) + len(ids)
        for kept, new in zip(_arrays(self._signatures), _arrays(loaded), strict=True):
            kept[start:stop] = new
        self._row_of.update(zip(ids, range(start, stop), strict=True))


def _arrays(signatures: SignatureBatch) -> list[NDArray[Any]]:
    return [getattr(signatures, field.name) for field in fields(SignatureBatch)]
