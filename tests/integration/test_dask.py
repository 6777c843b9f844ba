"""Matching on a Dask cluster: a real one, of worker processes on this machine."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import sleep
from typing import Any

import dask
import pytest
from conftest import MS_SSIM, THRESHOLD, Home, Library, Serve
from distributed import LocalCluster, Security, WorkerPlugin
from made_certificate import make_certificate

from hydindex import __version__
from hydindex.demo.generated_library import generate_library
from hydindex.matching import dask_cluster

# How far float arithmetic in blocks of other sizes may move a score; as in test_compare.py.
ROUNDING = 1e-5
NO_SCHEDULER = "tcp://127.0.0.1:9"

needs_signals = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGSTOP, SIGKILL")


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
def files() -> Library:
    """Neighbours of each other, so that there is a lot to score."""
    return [replace(file, duration_ms=10_000) for file in generate_library(seed=4, pictures=60)]


def use(home: Home, cluster: LocalCluster | None) -> None:
    home.configure(compare={"scheduler": cluster and cluster.scheduler_address})


def local_scores(home: Home) -> dict[frozenset[str], float]:
    """Return the scores that this machine computes, and delete the index."""
    use(home, None)
    home.update("--dry-run")
    scores = home.scores()
    assert len(scores) > 10
    home.forget()
    return scores


def strike_at_first_block(
    cluster: LocalCluster, folder: Path, strike: Callable[[Any], None]
) -> threading.Thread:
    """Freeze the first worker that starts a block, then call a function with its nanny."""
    frozen = folder / "frozen"

    class Freeze(WorkerPlugin):
        def transition(self, key: Any, _start: str, finish: str, **_: Any) -> None:
            if finish == "executing" and str(key).startswith("match"):
                own = folder / f"{os.getpid()}"
                own.write_text(own.name, encoding="utf-8")
                try:
                    frozen.hardlink_to(own)
                except FileExistsError:  # it is not the first
                    return
                os.kill(os.getpid(), signal.SIGSTOP)

    def wait() -> None:
        while not frozen.exists():
            sleep(0.01)
        pid = int(frozen.read_text(encoding="utf-8"))
        strike(next(each for each in cluster.workers.values() if each.pid == pid))

    with cluster.get_client() as client:
        client.register_plugin(Freeze(), name=str(folder))
    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def kill(nanny: Any) -> None:
    os.kill(nanny.pid, signal.SIGKILL)


@pytest.mark.parametrize("config", [{}, MS_SSIM, THRESHOLD], ids=["calibrated", "MS-SSIM", "SSIM"])
def test_a_cluster_finds_what_this_machine_finds(
    home: Home, serve: Serve, files: Library, cluster: LocalCluster, config: dict[str, Any]
) -> None:
    client = serve(files)
    home.configure(**config)
    expected = local_scores(home)
    use(home, cluster)
    posted = home.update()["pairs"]["posted"]
    assert home.scores() == pytest.approx(expected, abs=ROUNDING)
    assert posted == len(client.potentials) == len(expected)


def test_a_cluster_is_reached_over_tls(
    home: Home, serve: Serve, files: Library, tmp_path: Path
) -> None:
    serve(files)
    expected = local_scores(home)
    certificate = str(make_certificate(tmp_path, "cluster"))
    roles = ("scheduler", "worker", "client")
    keys = [f"tls_{role}_{part}" for role in roles for part in ("cert", "key")]
    security = Security(tls_ca_file=certificate, **dict.fromkeys(keys, certificate))
    tls = "distributed.comm.tls"
    own = dict.fromkeys((f"{tls}.ca-file", f"{tls}.client.cert", f"{tls}.client.key"), certificate)
    with local_cluster(n_workers=1, protocol="tls", security=security) as cluster:
        assert cluster.scheduler_address.startswith("tls://")
        use(home, cluster)
        assert "No Dask scheduler answers" in home.fail("update", expect=2)  # without certificate
        with dask.config.set(own):
            home.update()
    assert home.scores() == pytest.approx(expected, abs=ROUNDING)


@needs_signals
def test_a_dying_worker_costs_a_retry_and_no_pair(
    home: Home, serve: Serve, files: Library, cluster: LocalCluster, tmp_path: Path
) -> None:
    serve(files)
    expected = local_scores(home)
    use(home, cluster)
    striker = strike_at_first_block(cluster, tmp_path, kill)
    # Dask is set to warn about every block.
    limit = {"DASK_DISTRIBUTED__ADMIN__LARGE_GRAPH_WARNING_THRESHOLD": "1B"}
    outcome = home.run_process("update", "--json", **limit)
    striker.join(60)
    assert (outcome.exit_code, outcome.err) == (0, "")
    assert outcome.json["pairs"]["posted"] == len(expected)
    assert home.scores() == pytest.approx(expected, abs=ROUNDING)


@needs_signals
@pytest.mark.parametrize("lost", ["workers", "scheduler", "block that kills"])
def test_a_lost_cluster_costs_the_run_and_no_pair(
    home: Home,
    serve: Serve,
    files: Library,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lost: str,
) -> None:
    serve(files)
    expected = local_scores(home)
    monkeypatch.setattr(dask_cluster, "_WORKERS_TIMEOUT_S", 1)
    monkeypatch.setattr(dask_cluster, "_CHECK_WORKERS_AFTER_S", 0.5)
    # A cluster without its scheduler takes this long to close.
    soon = dask.config.set({"distributed.comm.timeouts.connect": "1s"})
    with local_cluster(n_workers=1) as cluster, soon:
        use(home, cluster)
        cluster.scheduler.allowed_failures = 0 if lost == "block that kills" else 3

        def strike(nanny: Any) -> None:
            if lost != "block that kills":
                nanny.close_gracefully()  # don't start another worker
            if lost == "scheduler":
                cluster.sync(cluster.scheduler.close)
            kill(nanny)

        striker = strike_at_first_block(cluster, tmp_path, strike)
        error = home.fail("update", expect=3, kind="cluster")
        striker.join(60)
        assert cluster.scheduler_address in error
        assert home.scores() == {}
        if lost == "workers":
            assert "has no workers" in home.fail("update", expect=2)
    use(home, None)
    home.update()
    assert home.scores() == pytest.approx(expected, abs=ROUNDING)


def test_a_damaged_picture_that_a_worker_finds_is_named(
    home: Home, serve: Serve, files: Library, cluster: LocalCluster
) -> None:
    serve(files)
    home.configure(**THRESHOLD)
    home.update("--dry-run")
    home.sql("UPDATE file SET compared_since = NULL")
    home.sql("UPDATE prepared_picture SET picture = x'00' WHERE file_id = 7")
    use(home, cluster)
    assert "file 7" in home.fail("update", expect=4)


@pytest.mark.usefixtures("client")
def test_a_scheduler_that_does_not_answer_is_a_config_error(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dask_cluster, "_ANSWER_TIMEOUT_S", 1)
    # One waits for the client to speak first, like a web server.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for address in (NO_SCHEDULER, f"tcp://127.0.0.1:{listening.getsockname()[1]}"):
            home.configure(compare={"scheduler": address})
            error = home.fail("update", expect=2)
            assert f"No Dask scheduler answers at {address}" in error
    use(home, None)
    assert home.update()["pairs"]["posted"] > 0


@pytest.mark.parametrize(
    ("preload", "message"),
    [
        ("import hydindex; hydindex.__version__ = '0.0.9'", f"0.0.9, but this is {__version__}"),
        ("import sys; sys.modules['hydindex'] = None", "cannot run hydindex"),
    ],
    ids=["another", "none"],
)
@pytest.mark.usefixtures("client")
def test_workers_need_the_same_hydindex(home: Home, preload: str, message: str) -> None:
    with local_cluster(n_workers=1, preload=[preload]) as other:
        use(home, other)
        assert message in home.fail("update", expect=2)


@pytest.mark.usefixtures("client")
def test_without_dask_the_error_names_the_extra(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    home.configure(compare={"scheduler": NO_SCHEDULER})
    assert "hydindex[dask]" in home.fail("update", expect=2)
