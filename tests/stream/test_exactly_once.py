"""Whatever is killed: acknowledged = stored ∪ dead-lettered, disjoint, each once, in order."""

import json
from collections import Counter

import pytest

from tests.databases import change
from tests.deployment import Deployment
from tests.kills import kill_workers
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.support import wait_until


def run_under_fire(deployment: Deployment, kills: int, rate: int) -> None:
    """Send `rate` events/s with 1 % bad ones, kill both workers at random, and judge."""
    with deployment.running("process"), deployment.running("analyze"):
        with Load(deployment, rate=rate) as load:
            killed = kill_workers(deployment, ["processor", "analytics"], kills, lambda: True)
        wait_until_quiet(deployment, load.sent)
        deployment.succeed("verify")
    assert killed == Counter(processor=kills, analytics=kills)
    assert len(load.sent.good) + len(load.sent.bad) == load.count
    assert load.sent.bad
    require_exactly_once(deployment, load.sent)


@pytest.mark.faults
def test_twenty_kills_of_each_app_lose_and_double_nothing(deployment: Deployment) -> None:
    """By SIGKILL under 3,000 events/s; one of each is in `tests.faults.test_workers`."""
    run_under_fire(deployment, 20, rate=3_000)


def test_a_batch_whose_position_another_consumer_moved_is_dropped_and_read_again(
    deployment: Deployment,
) -> None:
    """The consumer goes back to where the database stands, once, without a restart."""
    deployment.succeed("db", "upgrade")
    with deployment.running("process"), deployment.running("analyze"):
        with Load(deployment, rate=500) as load:
            wait_until(lambda: deployment.count("analytics_event") > 100, 60, "nothing is stored")
            worker = deployment.worker_pid("analytics")
            with change(deployment.settings, 30) as other:
                wait_until(lambda: "paused" in list_logged(deployment), 60, "it does not wait")
                earlier = "UPDATE stream_offset SET next_offset = next_offset - 1"
                other.execute(f"{earlier} WHERE next_offset > 0")
            wait_until(
                lambda: "position_taken" in list_logged(deployment), 60, "it does not notice"
            )
        wait_until_quiet(deployment, load.sent)
        assert deployment.worker_pid("analytics") == worker
    assert list_logged(deployment).count("position_taken") == 1
    require_exactly_once(deployment, load.sent)


def list_logged(deployment: Deployment) -> list[str]:
    """Return the events that `analyze` logged, in order."""
    lines = (deployment.home / "analyze.log").read_text().splitlines()
    return [json.loads(line)["event"] for line in lines if line.startswith("{")]
