"""The connectors of docs/connect while their worker is killed."""

from functools import partial

import psycopg
import pytest

from tests.connect.shop import count_arrived, purchase, require_agreement, sell
from tests.connect.worker import Worker, running_connect
from tests.deployment import Deployment
from tests.support import wait_until

KILLS = 3
SALES_A_KILL = 3_000


def has_more_than(shop: psycopg.Connection, events: int) -> bool:
    """Return whether the sink has written more events than these."""
    return count_arrived(shop) > events


@pytest.mark.faults
def test_connect_killed_again_and_again_loses_nothing_and_counts_nothing_twice(
    worker: Worker, deployment: Deployment, shop: psycopg.Connection
) -> None:
    """SIGKILL strikes while it reads the outbox and writes events; it starts again, and goes on."""
    sold = 0
    with deployment.running("process"), deployment.running("analyze"):
        for _ in range(KILLS):
            with running_connect(worker):
                for _ in range(SALES_A_KILL // 100):
                    sell(shop, [purchase(number) for number in range(sold, sold + 100)])
                    sold += 100
                half = sold - SALES_A_KILL // 2
                wait_until(partial(has_more_than, shop, half), 120, "no event came")
        with running_connect(worker):
            wait_until(lambda: count_arrived(shop) == sold, 120, "not all came into PostgreSQL")
    require_agreement(deployment, shop, sold)
