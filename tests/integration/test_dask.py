"""Scoring on a Dask cluster: a real one, of worker processes on this machine."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dask
import pytest
from conftest import Home
from distributed import LocalCluster

from hydindex import __version__
from hydindex.demo.generated_library import generate_library
from hydindex.matching import dask_cluster
from hydindex.standin.library_files import HydrusFile
from hydindex.standin.server import StandIn

Serve = Callable[..., StandIn]
# How float arithmetic in other blocks, of other sizes, may move a score; as in test_compare.py.
ROUNDING = 1e-5
MS_SSIM = {"fixedResize": [184, 184], "useMSSSIM": True}
NOBODY = "tcp://127.0.0.1:9"

needs_kill = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGSTOP and SIGKILL")


@contextmanager
def local_cluster(**options: Any) -> Iterator[LocalCluster]:
    with LocalCluster(
        host="127.0.0.1",
        dashboard_address="127.0.0.1:0",
        processes=True,
        threads_per_worker=1,
        **options,
    ) as made:
        yield made


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with local_cluster(n_workers=2) as made:
        yield made


@pytest.fixture
def files() -> list[HydrusFile]:
    """All neighbours of each other, so that there is a lot to score."""
    return [replace(file, duration_ms=10_000) for file in generate_library(seed=4, pictures=60)]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(dask_cluster, "_ANSWER_TIMEOUT_S", 1)
    monkeypatch.setattr(dask_cluster, "_WORKERS_TIMEOUT_S", 1)
    monkeypatch.setattr(dask_cluster, "_LOOK_AFTER_S", 0.5)
    with dask.config.set({"distributed.comm.timeouts.connect": "2s"}):
        yield


def scores_of_this_machine(home: Home) -> dict[tuple[str, str], float]:
    """Give the pairs that are found without a cluster, and leave no index behind."""
    home.configure(compare={"scheduler": None})
    home.update("--dry-run")
    found = home.scores()
    assert len(found) > 10
    home.forget()
    return found


def busy_worker(cluster: LocalCluster) -> Any:
    """Wait until a worker scores a block, freeze it so that it cannot finish, and give its nanny.

    The nanny starts it again where it dies.
    """
    until = time.monotonic() + 30
    while time.monotonic() < until:
        for worker in list(cluster.scheduler.workers.values()):
            if not worker.processing:
                continue
            nanny = cluster.workers[worker.name]
            os.kill(nanny.pid, signal.SIGSTOP)
            time.sleep(0.1)  # what it had said before may still be on its way
            if any(task.prefix.name == "score_block" for task in worker.processing):
                return nanny
            os.kill(nanny.pid, signal.SIGCONT)
        time.sleep(0.002)
    raise AssertionError("no worker ever scored a block")


@contextmanager
def running_update(home: Home) -> Iterator[subprocess.Popen[str]]:
    """Run an update as a user does, in a process of its own, where Dask warns of every block."""
    talkative = {"DASK_DISTRIBUTED__ADMIN__LARGE_GRAPH_WARNING_THRESHOLD": "1B"}
    command = [sys.executable, "-m", "hydindex", "update", "--json", "--quiet"]
    with subprocess.Popen(
        [*command, "--config", str(home.config)],
        env=os.environ | talkative,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("preprocessing", [MS_SSIM, {}], ids=["MS-SSIM", "SSIM"])
def test_a_cluster_finds_what_this_machine_finds(
    home: Home,
    serve: Serve,
    files: list[HydrusFile],
    cluster: LocalCluster,
    preprocessing: dict[str, Any],
) -> None:
    client = serve(files)
    home.configure(preprocessing=preprocessing)
    expected = scores_of_this_machine(home)
    home.configure(compare={"scheduler": cluster.scheduler_address})
    counts = home.update()["pairs"]
    assert home.scores() == pytest.approx(expected, abs=ROUNDING)
    assert counts["posted"] == len(client.potentials) == len(expected)


@needs_kill
def test_a_worker_that_dies_costs_a_retry_and_no_pair(
    home: Home, serve: Serve, files: list[HydrusFile], cluster: LocalCluster
) -> None:
    serve(files)
    home.configure(preprocessing=MS_SSIM, filters={"use_ahash_prefilter": False})
    expected = scores_of_this_machine(home)
    home.configure(compare={"scheduler": cluster.scheduler_address})
    with running_update(home) as process:
        os.kill(busy_worker(cluster).pid, signal.SIGKILL)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["pairs"]["posted"] == len(expected)
    assert home.scores() == pytest.approx(expected, abs=ROUNDING)


@needs_kill
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("what", ["workers", "scheduler", "block that kills"])
def test_a_cluster_that_is_lost_costs_a_run_and_no_pair(
    home: Home, serve: Serve, files: list[HydrusFile], what: str
) -> None:
    serve(files)
    home.configure(filters={"use_ahash_prefilter": False})
    expected = scores_of_this_machine(home)

    def strike() -> None:
        nanny = busy_worker(cluster)
        if what != "block that kills":
            nanny.close_gracefully()  # it shall not start another
        if what == "scheduler":
            cluster.sync(cluster.scheduler.close)
        os.kill(nanny.pid, signal.SIGKILL)

    with local_cluster(n_workers=1) as cluster:
        cluster.scheduler.allowed_failures = 0 if what == "block that kills" else 3
        home.configure(compare={"scheduler": cluster.scheduler_address})
        striker = threading.Thread(target=strike)
        striker.start()
        outcome = home.run("update", "--json")
        striker.join()
    assert outcome.exit_code == 3
    assert outcome.json["error"]["kind"] == "cluster"
    assert cluster.scheduler_address in outcome.json["error"]["message"]
    assert home.scores() == {}
    home.configure(compare={"scheduler": None})
    home.update()
    assert home.scores() == pytest.approx(expected, abs=ROUNDING)


def test_a_damaged_picture_is_found_by_a_worker_and_named_here(
    home: Home, serve: Serve, files: list[HydrusFile], cluster: LocalCluster
) -> None:
    serve(files)
    home.update("--dry-run")
    home.sql("UPDATE file SET compared_since = NULL")
    home.sql("UPDATE prepared_picture SET pixels = x'00' WHERE file_id = 7")
    home.configure(compare={"scheduler": cluster.scheduler_address})
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 4
    assert "no sound picture for file 7" in outcome.json["error"]["message"]


@pytest.fixture
def silent_server() -> Iterator[str]:
    """Such as a web server: it waits for the client to begin."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"tcp://127.0.0.1:{listening.getsockname()[1]}"


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("listens", [False, True], ids=["nobody", "something else"])
def test_a_scheduler_that_does_not_answer_is_named(
    home: Home, serve: Serve, library: list[HydrusFile], silent_server: str, listens: bool
) -> None:
    address = silent_server if listens else NOBODY
    client = serve(library)
    home.configure(compare={"scheduler": address})
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 2
    assert f"No Dask scheduler answers at {address}" in outcome.json["error"]["message"]
    home.configure(compare={"scheduler": None})
    assert home.update()["pairs"]["posted"] == len(client.potentials) > 0


@pytest.mark.usefixtures("impatient")
def test_a_scheduler_without_workers_is_named(
    home: Home, serve: Serve, library: list[HydrusFile]
) -> None:
    serve(library)
    with local_cluster(n_workers=0) as idle:
        home.configure(compare={"scheduler": idle.scheduler_address})
        outcome = home.run("update", "--json")
    assert outcome.exit_code == 2
    assert f"{idle.scheduler_address} has no workers" in outcome.json["error"]["message"]


@pytest.mark.parametrize(
    ("preload", "message"),
    [
        ("import hydindex; hydindex.__version__ = '0.0.9'", f"0.0.9, but this is {__version__}"),
        ("import sys; sys.modules['hydindex'] = None", "cannot run hydindex"),
    ],
    ids=["another", "none"],
)
def test_workers_need_the_same_hydindex(
    home: Home, serve: Serve, library: list[HydrusFile], preload: str, message: str
) -> None:
    serve(library)
    with local_cluster(n_workers=1, preload=[preload]) as other:
        home.configure(compare={"scheduler": other.scheduler_address})
        outcome = home.run("update", "--json")
    assert outcome.exit_code == 2
    assert message in outcome.json["error"]["message"]


def test_without_dask_the_extra_is_named(
    home: Home, serve: Serve, library: list[HydrusFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    serve(library)
    home.configure(compare={"scheduler": NOBODY})
    outcome = home.run("update", "--json")
    assert outcome.exit_code == 2
    assert "hydindex[dask]" in outcome.json["error"]["remedy"]
