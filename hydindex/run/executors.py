"""Where blocks are scored: in threads of this process, or on a Dask cluster."""

import os
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from hydindex.config import Config
from hydindex.errors import ConfigError

_ANSWER_TIMEOUT_S: Final = 10


@dataclass(frozen=True, slots=True)
class Scoring:
    """An executor, and how many blocks to keep on their way to keep it busy."""

    executor: Executor
    blocks_ahead: int


@contextmanager
def scoring_executor(config: Config) -> Iterator[Scoring]:
    """Give what `compare.scheduler` names, or this process's own threads.

    Raises:
        ConfigError: there is no such scheduler, or Dask is not installed.
    """
    if config.compare.scheduler is not None:
        with _dask(config.compare.scheduler) as scoring:
            yield scoring
        return
    cores = os.cpu_count() or 1
    threads = ThreadPoolExecutor(cores, thread_name_prefix="score")
    try:
        yield Scoring(threads, blocks_ahead=2 * cores)
    finally:
        # An interrupted run does not wait for blocks that nobody will record.
        threads.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _dask(address: str) -> Iterator[Scoring]:
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError(
            f"compare.scheduler names {address}, but Dask is not installed",
            "Install hydindex[dask], or take compare.scheduler out of the config.",
        ) from None
    try:
        client = Client(address, timeout=_ANSWER_TIMEOUT_S, set_as_default=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"No Dask scheduler answers at {address}: {error}",
            "Start it (dask scheduler), or take compare.scheduler out of the config.",
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_ANSWER_TIMEOUT_S)
        except TimeoutError:
            raise ConfigError(
                f"The Dask scheduler at {address} has no workers",
                f"Start some (dask worker {address}), on machines where hydindex is installed.",
            ) from None
        threads = sum(client.nthreads().values())
        # A block is done again, elsewhere, if its worker dies: Dask itself sees to that.
        yield Scoring(client.get_executor(pure=False), blocks_ahead=2 * threads)
