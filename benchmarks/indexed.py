"""Puts a library into an index as a run would, and runs the stage of comparing on all of it."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from hydindex.config.settings import Config
from hydindex.matching.matcher import matcher_for
from hydindex.matching.preparation import Preparation
from hydindex.matching.recipe import recipe_of
from hydindex.pipeline.compare import compare_waiting
from hydindex.pipeline.ingest import prepare_and_pack
from hydindex.pipeline.run_report import Report, unseen
from hydindex.records.files import FileMetadata, PreparedFile, Thumbnail
from hydindex.standin.library_files import HydrusFile
from hydindex.store.store import Store, open_for_writing


def with_method(config: Config, method: Literal["threshold", "calibrated"]) -> Config:
    """Give a config that decides by this method, and is otherwise the same."""
    decision = config.decision.model_copy(update={"method": method})
    return config.model_copy(update={"decision": decision})


@contextmanager
def indexed(files: Sequence[HydrusFile], config: Config) -> Iterator[Store]:
    """Make an index of files that wait to be compared; it goes with the context."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_for_writing(Path(folder) / "hydindex.db") as index,
    ):
        index.adopt(recipe_of(config))
        index.files.save([_comparable(each, config) for each in files])
        yield index


def compare_all(index: Store, config: Config) -> Report:
    """Run the stage of comparing on all files of an index, as if none had been compared yet.

    What matches is in the outbox afterwards.
    """
    index.comparisons.restart(recipe_of(config), prepare_again=False)
    report = Report()
    with matcher_for(config, index.files, report.sieve) as judge:
        compare_waiting(index, config, judge, report, unseen)
    return report


def _comparable(file: HydrusFile, config: Config) -> PreparedFile:
    remote = FileMetadata(
        hydrus_id=0,
        sha256=file.hash,
        size_bytes=file.size,
        mime=file.mime,
        width_px=file.width,
        height_px=file.height,
        duration_ms=file.duration_ms,
        num_frames=file.num_frames,
    )
    made = prepare_and_pack(file.thumbnail, Preparation.of(config))
    if isinstance(made, str):
        raise ValueError(f"{file.hash}: {made}")
    return PreparedFile(Thumbnail(remote, file.thumbnail), made)
