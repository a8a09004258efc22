"""Whatever is killed: acknowledged = stored ∪ dead-lettered, disjoint, each once, in order."""

from collections import Counter

import pytest

from tests.pipeline import (
    Deployment,
    Load,
    kill_workers,
    require_exactly_once,
    wait_until_quiet,
)


def run_under_fire(deployment: Deployment, kills: int) -> None:
    """Send 3,000 events/s with 1 % bad ones, kill both workers at random, and judge."""
    with deployment.running("process"), deployment.running("analyze"):
        with Load(deployment, rate=3_000) as load:
            killed = kill_workers(deployment, ["processor", "analytics"], kills, lambda: True)
        wait_until_quiet(deployment, load.sent)
        deployment.succeed("verify")
    assert killed == Counter(processor=kills, analytics=kills)
    assert len(load.sent.good) + len(load.sent.bad) == load.count
    assert load.sent.bad
    require_exactly_once(deployment, load.sent)


def test_six_kills_of_each_app_lose_and_double_nothing(deployment: Deployment) -> None:
    """The short form: 6 SIGKILLs of the processor and 6 of the consumer under 3,000 events/s."""
    run_under_fire(deployment, 6)


@pytest.mark.faults
@pytest.mark.timeout(600)
def test_twenty_kills_of_each_app_lose_and_double_nothing(deployment: Deployment) -> None:
    """The whole form: 20 SIGKILLs of the processor and 20 of the consumer."""
    run_under_fire(deployment, 20)
