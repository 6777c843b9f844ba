"""Puts a library into an index as a run would, and runs the stage of comparing on all of it."""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from hydindex.config import Config
from hydindex.demo.files import HydrusFile
from hydindex.index.index import Index, open_for_writing
from hydindex.model import ComparableFile, RemoteFile, Thumbnail
from hydindex.prepare.thumbnail import Preparation
from hydindex.recipe import recipe_of
from hydindex.run.compare import compare_waiting
from hydindex.run.intake import prepare_and_pack
from hydindex.run.judging import judge_of
from hydindex.run.report import Report, unseen


def with_method(config: Config, method: Literal["threshold", "calibrated"]) -> Config:
    """Give a config that decides by this method, and is otherwise the same."""
    decision = config.decision.model_copy(update={"method": method})
    return config.model_copy(update={"decision": decision})


@contextmanager
def indexed(files: Sequence[HydrusFile], config: Config) -> Iterator[Index]:
    """Make an index of files that wait to be compared; it goes with the context."""
    with (
        tempfile.TemporaryDirectory() as folder,
        open_for_writing(Path(folder) / "hydindex.db") as index,
    ):
        index.adopt(recipe_of(config))
        index.files.save([_comparable(each, config) for each in files])
        yield index


def compare_all(index: Index, config: Config) -> Report:
    """Run the stage of comparing on all files of an index, as if none had been compared yet.

    What matches is in the outbox afterwards.
    """
    index.comparisons.restart(recipe_of(config), prepare_again=False)
    report = Report()
    with judge_of(config, index.files, report.sieve) as judge:
        compare_waiting(index, config, judge, report, unseen)
    return report


def _comparable(file: HydrusFile, config: Config) -> ComparableFile:
    remote = RemoteFile(
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
    return ComparableFile(Thumbnail(remote, file.thumbnail), made)
