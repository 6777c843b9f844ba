"""Run blocks on the machines of a Dask cluster (`compare.scheduler`)."""

import asyncio
import logging
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, TypeVar

from hydindex import __version__
from hydindex.common.errors import ClusterLost, ConfigError

if TYPE_CHECKING:
    from distributed import Client

T = TypeVar("T")

# How long to wait for the scheduler, and for a worker while the cluster has none.
_ANSWER_TIMEOUT_S: Final = 10
_WORKERS_TIMEOUT_S: Final = 60
# How long a block may take before the cluster is asked whether it still has workers.
_CHECK_WORKERS_AFTER_S: Final = 10

_WITHOUT_DASK: Final = "remove compare.scheduler from the config."


@contextmanager
def connect_to(address: str) -> Iterator["Cluster"]:
    """Connect to the scheduler at an address.

    Raises:
        ConfigError: no usable cluster is there, or Dask is not installed.
    """
    try:
        from distributed import Client
    except ImportError:
        raise ConfigError(
            f"compare.scheduler names {address}, but Dask is not installed",
            f"Install hydindex[dask], or {_WITHOUT_DASK}",
        ) from None
    _silence_dask()
    try:
        asyncio.run(_require_scheduler(address))
        client = Client(address, timeout=_ANSWER_TIMEOUT_S, set_as_default=False)
    except Exception as error:  # any other server there can cause any error
        raise ConfigError(
            f"No Dask scheduler answers at {address}: {str(error) or 'it is another server'}",
            f"Start one (dask scheduler), or {_WITHOUT_DASK}",
        ) from None
    with client:
        _require_workers(client, address)
        yield Cluster(client, address)


class Cluster:
    """The workers of a Dask cluster.

    Dask repeats a call whose worker dies on another worker. Where the cluster can't continue, Dask
    would wait forever or cancel; here the future raises ClusterLost.
    """

    def __init__(self, client: "Client", address: str) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._address = address

    def threads(self) -> int:
        """Return how many threads all workers have."""
        with self._reachable():
            return sum(self._client.nthreads().values())

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run a function on one of the workers."""
        with self._reachable():
            remote = self._executor.submit(function)
            return asyncio.run_coroutine_threadsafe(
                self._wait_for(remote), self._client.loop.asyncio_loop
            )

    async def _wait_for(self, remote: Future[T]) -> T:
        from distributed import KilledWorker

        result = asyncio.wrap_future(remote)
        while not (await asyncio.wait([result], timeout=_CHECK_WORKERS_AFTER_S))[0]:
            with self._reachable():
                await self._client.wait_for_workers(1, timeout=_WORKERS_TIMEOUT_S)
        try:
            return await result
        except asyncio.CancelledError:
            raise self._lost("its scheduler is gone") from None
        except KilledWorker as error:
            raise self._lost(f"one block killed every worker that tried it: {error}") from None

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # a client without its scheduler raises all kinds of errors
            raise self._lost("its scheduler or all its workers are gone") from error

    def _lost(self, reason: str) -> ClusterLost:
        return ClusterLost(
            f"The Dask cluster at {self._address} was lost: {reason}",
            "Everything done so far is saved. Fix the cluster, or remove compare.scheduler from "
            "the config, and run the command again: it continues from there.",
        )


def _silence_dask() -> None:
    """Keep Dask's messages off the terminal: what matters is raised."""
    for name in ("distributed", "distributed.client", "distributed.gc", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module="distributed")  # for example about large blocks


async def _require_scheduler(address: str) -> None:
    """Check that a scheduler answers: with a web server there, `Client` would wait forever."""
    from distributed.comm import connect
    from distributed.security import Security

    async with asyncio.timeout(2 * _ANSWER_TIMEOUT_S):  # `connect` doesn't bound the handshake
        comm = await connect(
            address, timeout=_ANSWER_TIMEOUT_S, **Security().get_connection_args("client")
        )
        await comm.close()


def _require_workers(client: "Client", address: str) -> None:
    """Check that workers with this version of hydindex are there."""
    try:
        client.wait_for_workers(1, timeout=_WORKERS_TIMEOUT_S)
    except TimeoutError:
        raise ConfigError(
            f"The Dask scheduler at {address} has no workers",
            f"Start one (dask worker {address}), or {_WITHOUT_DASK}",
        ) from None
    try:
        # The scheduler unpickles too.
        versions = {client.run_on_scheduler(_version), *client.run(_version).values()}
    except Exception as error:
        raise _other_version(address, f"cannot run hydindex: {error}") from None
    if others := versions - {__version__}:
        names = ", ".join(sorted(others))
        raise _other_version(address, f"has hydindex {names}, but this is {__version__}")


def _other_version(address: str, problem: str) -> ConfigError:
    return ConfigError(
        f"The Dask cluster at {address} {problem}",
        "Install the same hydindex here, on the scheduler and on the workers.",
    )


def _version() -> str:
    return __version__
