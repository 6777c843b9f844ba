"""Scores on the machines of a Dask cluster: `compare.scheduler`."""

import asyncio
import logging
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

from hydindex import __version__
from hydindex.common.errors import ClusterLost, ConfigError

if TYPE_CHECKING:
    from distributed import Client

P = ParamSpec("P")
T = TypeVar("T")

# How long to wait for a scheduler, and for the first worker of a cluster that has none (left).
_ANSWER_TIMEOUT_S: Final = 10
_WORKERS_TIMEOUT_S: Final = 60
# How long a block may take before anybody asks whether there still is a worker.
_LOOK_AFTER_S: Final = 10

_WITHOUT_DASK: Final = "take compare.scheduler out of the config."
_SAME_VERSION: Final = "Install the same hydindex on this machine, the scheduler and the workers."


@contextmanager
def connect_to(address: str) -> Iterator["Cluster"]:
    """Hold a connection to the scheduler at an address.

    Raises:
        ConfigError: no cluster there can score, or Dask is not installed.
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
        asyncio.run(_knock(address))
        client = Client(address, timeout=_ANSWER_TIMEOUT_S, set_as_default=False)
    except Exception as error:  # whatever else listens there can cause just about anything
        raise ConfigError(
            f"No Dask scheduler answers at {address}: {str(error) or 'something else is there'}",
            f"Start it (dask scheduler), or {_WITHOUT_DASK}",
        ) from None
    with client:
        _require_workers(client, address)
        yield Cluster(client, address)


class Cluster(Executor):
    """The workers of a Dask cluster.

    A call whose worker dies is made again on another: Dask sees to that. Where the cluster cannot
    go on, Dask would wait for ever, or cancel; here the future raises ClusterLost.
    """

    def __init__(self, client: "Client", address: str) -> None:
        self._client = client
        self._executor = client.get_executor(pure=False)
        self._address = address

    def threads(self) -> int:
        """How many threads the workers have, all together."""
        with self._reachable():
            return sum(self._client.nthreads().values())

    def submit(self, call: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call it on one of the workers."""
        with self._reachable():
            result = self._executor.submit(call, *args, **kwargs)
            return asyncio.run_coroutine_threadsafe(
                self._wait_for(result), self._client.loop.asyncio_loop
            )

    async def _wait_for(self, remote: Future[T]) -> T:
        from distributed import KilledWorker

        result = asyncio.wrap_future(remote)
        while not (await asyncio.wait([result], timeout=_LOOK_AFTER_S))[0]:
            await self._wait_for_a_worker()
        try:
            return await result
        except asyncio.CancelledError:
            raise self._lost("its scheduler went away") from None
        except KilledWorker as error:
            raise self._lost(f"worker after worker died of a block: {error}") from None

    async def _wait_for_a_worker(self) -> None:
        with self._reachable():
            try:
                await self._client.wait_for_workers(1, timeout=_WORKERS_TIMEOUT_S)
            except TimeoutError:
                raise self._lost("it has no workers any more") from None

    @contextmanager
    def _reachable(self) -> Iterator[None]:
        try:
            yield
        except ClusterLost:
            raise
        except Exception as error:  # a client without its scheduler raises just about anything
            raise self._lost("its scheduler went away") from error

    def _lost(self, reason: str) -> ClusterLost:
        return ClusterLost(
            f"The Dask cluster at {self._address} stopped scoring: {reason}",
            "What was done is kept. See to the cluster, or take compare.scheduler out of the "
            "config, and run the command again: it goes on from there.",
        )


def _silence_dask() -> None:
    """Keep Dask's own words from the terminal: what is to be known of it is raised."""
    for name in ("distributed", "distributed.client", "distributed.gc", "tornado.application"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module="distributed")  # such as of blocks of some megabytes


async def _knock(address: str) -> None:
    """Find out whether a scheduler answers: `Client` would wait for ever for, say, a web server."""
    from distributed.comm import connect
    from distributed.security import Security

    async with asyncio.timeout(2 * _ANSWER_TIMEOUT_S):  # `connect` bounds all but the greeting
        comm = await connect(
            address, timeout=_ANSWER_TIMEOUT_S, **Security().get_connection_args("client")
        )
        await comm.close()


def _require_workers(client: "Client", address: str) -> None:
    """Make sure that somebody can score.

    Raises:
        ConfigError: there is no worker, or it has not got this version of hydindex.
    """
    try:
        client.wait_for_workers(1, timeout=_WORKERS_TIMEOUT_S)
    except TimeoutError:
        raise ConfigError(
            f"The Dask scheduler at {address} has no workers",
            f"Start some (dask worker {address}), or {_WITHOUT_DASK}",
        ) from None
    try:
        # The scheduler, too, unpickles what it hands on.
        versions = {client.run_on_scheduler(_version), *client.run(_version).values()}
    except Exception as error:
        raise ConfigError(
            f"The Dask cluster at {address} cannot run hydindex: {error}", _SAME_VERSION
        ) from None
    if others := versions - {__version__}:
        raise ConfigError(
            f"The Dask cluster at {address} has hydindex {', '.join(sorted(others))}, "
            f"but this is {__version__}",
            _SAME_VERSION,
        )


def _version() -> str:
    return __version__
