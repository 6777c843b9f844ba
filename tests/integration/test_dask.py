"""Scoring on a Dask cluster: a real one, with two worker processes on this machine."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from conftest import Home
from distributed import LocalCluster

from hydindex.demo.files import HydrusFile
from hydindex.demo.library import generate_library
from hydindex.demo.standin import StandIn
from hydindex.match import blocks

Serve = Callable[..., StandIn]
MS_SSIM = {"fixedResize": [184, 184], "useMSSSIM": True}

# Dask closes its sockets and event loops in its own time.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def cluster() -> Iterator[Any]:
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as made:
        yield made


@pytest.fixture
def files() -> list[HydrusFile]:
    """All neighbours of each other, so that there is a lot to score."""
    return [replace(file, duration_ms=10_000) for file in generate_library(seed=4, pictures=60)]


def scores(home: Home) -> dict[tuple[int, int], float]:
    rows = home.sql("SELECT low_id, high_id, score FROM pair")
    return {(low, high): score for low, high, score in rows}


@pytest.mark.parametrize("preprocessing", [MS_SSIM, {}], ids=["MS-SSIM", "SSIM"])
def test_a_cluster_finds_what_this_machine_finds(
    home: Home,
    serve: Serve,
    files: list[HydrusFile],
    cluster: Any,
    preprocessing: dict[str, Any],
) -> None:
    serve(files)
    home.configure(preprocessing=preprocessing)
    alone = home.update()["pairs"]
    expected = scores(home)
    home.index.unlink()
    home.configure(compare={"scheduler": cluster.scheduler_address})
    shared = home.update()["pairs"]
    assert shared["scored"] == alone["scored"] > 100
    assert scores(home) == pytest.approx(expected, abs=1e-5)
    assert len(expected) > 0


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a way to kill a process")
def test_a_worker_that_dies_costs_a_retry_and_no_pair(
    home: Home,
    serve: Serve,
    files: list[HydrusFile],
    cluster: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    serve(files)
    home.configure(preprocessing=MS_SSIM, filters={"use_ahash_prefilter": False})
    home.update()
    expected = scores(home)
    home.index.unlink()
    home.configure(compare={"scheduler": cluster.scheduler_address})
    monkeypatch.setattr(blocks, "_PAIRS", 5)  # many blocks, so that one is being scored
    died_at_work = threading.Event()

    def kill_a_busy_worker() -> None:
        for _ in range(6000):
            for worker in list(cluster.scheduler.workers.values()):
                if any(task.prefix.name == "score_block" for task in worker.processing):
                    os.kill(cluster.workers[worker.name].pid, signal.SIGKILL)
                    died_at_work.set()
                    return
            time.sleep(0.005)

    killer = threading.Thread(target=kill_a_busy_worker)
    killer.start()
    home.update()
    killer.join()
    assert died_at_work.is_set()
    assert scores(home) == pytest.approx(expected, abs=1e-5)
    assert home.sql("SELECT count(*) FROM file WHERE compared_since IS NULL") == [(0,)]


def test_a_scheduler_that_does_not_answer_is_named(
    home: Home, serve: Serve, library: list[HydrusFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydindex.run import executors

    monkeypatch.setattr(executors, "_ANSWER_TIMEOUT_S", 1)
    client = serve(library)
    home.configure(compare={"scheduler": "tcp://127.0.0.1:9"})
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 2
    assert "tcp://127.0.0.1:9" in outcome.json["error"]["message"]
    home.configure(compare={"scheduler": None})
    assert home.update()["pairs"]["posted"] == len(client.potentials) > 0


def test_a_scheduler_without_workers_is_named(
    home: Home, serve: Serve, library: list[HydrusFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    from hydindex.run import executors

    monkeypatch.setattr(executors, "_ANSWER_TIMEOUT_S", 1)
    serve(library)
    with LocalCluster(n_workers=0, dashboard_address=None) as idle:
        home.configure(compare={"scheduler": idle.scheduler_address})
        outcome = home.run("update", "--json")
    assert outcome.exit_code == 2
    assert "has no workers" in outcome.json["error"]["message"]


def test_without_dask_the_extra_is_named(
    home: Home, serve: Serve, library: list[HydrusFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    serve(library)
    home.configure(compare={"scheduler": "tcp://127.0.0.1:8786"})
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 2
    assert "hydindex[dask]" in outcome.json["error"]["remedy"]
