"""What a client that fails may cost a run."""

import pytest

from hydindex.common.errors import HydrusRejected, HydrusUnreachable
from hydindex.hydrus.client import HydrusClient
from hydindex.hydrus.retry_budget import RetryBudget
from hydindex.hydrus.transport import READ_ATTEMPTS
from hydindex.standin.faults import DROP_BEFORE_WORK, Fault, refuse
from hydindex.standin.server import StandIn


class Watched(RetryBudget):
    """One that remembers what was lost to pauses, which come after each try but the last."""

    def __init__(self) -> None:
        super().__init__()
        self._losses_s: list[float] = []

    def lose(self, seconds: float) -> None:
        super().lose(seconds)
        self._losses_s.append(seconds)

    @property
    def pauses_s(self) -> list[float]:
        return self._losses_s[1::2]


def tries(server: StandIn, patience: RetryBudget, *, backoff_s: float = 0.0) -> int:
    """How often a read is sent that gets no answer."""
    server.clear_log()
    address = f"{server.url}:{server.port}"
    with (
        HydrusClient(address, server.FULL_KEY, backoff_s=backoff_s, patience=patience) as client,
        pytest.raises(HydrusUnreachable),
    ):
        client.thumbnail(1)
    return len(server.requests)


@pytest.mark.parametrize("fault", [refuse(500), refuse(503), DROP_BEFORE_WORK])
def test_a_read_is_tried_again_while_patience_lasts(fault: Fault) -> None:
    with StandIn() as server:
        server.faults = lambda *_: fault
        patience = RetryBudget(retry_s=10.0, give_up_s=20.0)
        assert tries(server, patience) == READ_ATTEMPTS
        patience.lose(10.0)
        assert tries(server, patience) == 1
        patience.lose(10.0)
        assert tries(server, patience) == 0


def test_pauses_and_failing_requests_use_it_up_and_answers_do_not() -> None:
    with StandIn() as server:
        patience = RetryBudget(retry_s=0.05, give_up_s=60.0)
        with HydrusClient(
            f"{server.url}:{server.port}", server.FULL_KEY, patience=patience
        ) as client:
            for _ in range(30):
                client.version()
                with pytest.raises(HydrusRejected):
                    client.metadata([])
        assert patience.allows_retries
        server.faults = lambda *_: refuse(503)
        # The first pause, of a tenth of a second, is longer than what is left.
        assert tries(server, patience, backoff_s=0.1) == 2
        assert not patience.allows_retries
        assert not patience.is_at_an_end


def test_pauses_double_and_differ() -> None:
    """Requests that failed together in several threads do not come back together."""
    lengths = []
    for _ in range(5):
        with StandIn() as server:
            server.faults = lambda *_: refuse(503)
            patience = Watched()
            tries(server, patience, backoff_s=0.02)
            lengths.append(patience.pauses_s)
    for pauses_s, shortest_s in zip(zip(*lengths, strict=True), (0.02, 0.04, 0.08), strict=True):
        assert all(shortest_s <= pause_s <= shortest_s + 0.02 for pause_s in pauses_s)
        assert len(set(pauses_s)) == len(pauses_s)


def test_a_write_is_sent_once() -> None:
    with StandIn() as server:
        server.faults = lambda *_: refuse(503)
        with (
            HydrusClient(f"{server.url}:{server.port}", server.FULL_KEY) as client,
            pytest.raises(HydrusUnreachable),
        ):
            client.post_potentials([("a" * 64, "b" * 64)], merge=False)
        assert len(server.requests) == 1
