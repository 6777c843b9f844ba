"""How often a failed request is sent, and how much time a failing client may cost."""

import time

import pytest

from hydindex.common.errors import HydrusRejected, HydrusUnreachable
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.retry import ATTEMPTS, Retries
from hydindex.hydrus.transport import Transport
from hydindex.standin.server import DROP_BEFORE_WORK, Fault, StandIn, refuse


def client_of(server: StandIn, retries: Retries | None) -> HydrusClient:
    return HydrusClient(Transport(f"{server.url}:{server.port}", server.FULL_KEY, retries=retries))


def failed_requests(server: StandIn, retries: Retries | None) -> int:
    """How often a read that gets no answer is sent."""
    server.clear_log()
    with client_of(server, retries) as client, pytest.raises(HydrusUnreachable):
        client.thumbnail(1)
    return len(server.requests)


def lost_s(retries: Retries, duration_s: float = 0.0) -> float:
    """What a read costs whose every attempt fails after this time."""

    def fail() -> None:
        time.sleep(duration_s)
        raise HydrusUnreachable("no answer", "wait")

    with pytest.raises(HydrusUnreachable):
        retries.call(fail)
    return retries.lost_s


@pytest.mark.parametrize("fault", [refuse(500), refuse(503), DROP_BEFORE_WORK])
def test_reads_are_retried_within_the_budget(fault: Fault) -> None:
    with StandIn() as server:
        server.faults = lambda *_: fault
        assert failed_requests(server, None) == 1
        for seconds, requests in ((0.0, ATTEMPTS), (10.0, 1), (20.0, 0)):
            retries = Retries(0.0, budget_s=10.0, give_up_s=20.0)
            retries.add_lost_time(seconds)
            assert failed_requests(server, retries) == requests


def test_failed_requests_and_waits_use_up_the_budget_and_answers_do_not() -> None:
    with StandIn() as server:
        retries = Retries(0.1, budget_s=0.05)
        with client_of(server, retries) as client:
            for _ in range(30):
                client.version()
                with pytest.raises(HydrusRejected):
                    client.metadata([])
        assert retries.lost_s == 0.0
        server.faults = lambda *_: refuse(503)
        # The first wait alone exceeds the budget.
        assert failed_requests(server, Retries(0.1, budget_s=0.05)) == 2
    assert lost_s(Retries(0.0), duration_s=0.02) >= ATTEMPTS * 0.02


def test_waits_double_and_differ() -> None:
    """Requests that failed together in several threads are not repeated together."""
    waits_s = [lost_s(Retries(0.01)) for _ in range(6)]
    assert min(waits_s) >= 0.01 + 0.02 + 0.04
    assert max(waits_s) - min(waits_s) > 0.001


def test_writes_are_sent_once() -> None:
    with StandIn() as server:
        server.faults = lambda *_: refuse(503)
        with client_of(server, Retries(0.0)) as client, pytest.raises(HydrusUnreachable):
            client.post_potentials([("a" * 64, "b" * 64)], merge=False)
        assert len(server.requests) == 1
