"""What every stage of a run needs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hydindex.config.settings import Config
from hydindex.matching.method import Method, method_for
from hydindex.matching.workers import Workers, open_workers
from hydindex.pipeline.run_report import Progress
from hydindex.store.store import Store


@dataclass(frozen=True, slots=True)
class RunContext:
    """The index, the config with its method, the workers, and the progress bars."""

    store: Store
    config: Config
    method: Method
    workers: Workers
    progress: Progress


@contextmanager
def run_context(store: Store, config: Config, progress: Progress) -> Iterator[RunContext]:
    """Provide the context of one run; its workers end with it."""
    with open_workers(config.compare.scheduler) as workers:
        yield RunContext(store, config, method_for(config), workers, progress)
