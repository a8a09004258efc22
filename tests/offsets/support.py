"""What tests of positions need: topics that are drained and recreated, and what the apps say."""

import json
from collections.abc import Callable
from typing import Any

from confluent_kafka.admin import AdminClient

from streaming.runtime.status_file import read_status
from tests.deployment import Deployment
from tests.support import wait_until

COUNT = 400


def admin(deployment: Deployment) -> AdminClient:
    """Return an admin client of the broker."""
    return AdminClient({"bootstrap.servers": deployment.bootstrap_servers})


def recreate(deployment: Deployment, name: str) -> None:
    """Delete a topic and create it again under its name, with the same settings."""
    topic = deployment.topic(name)
    client = admin(deployment)
    client.delete_topics([topic])[topic].result(60)
    wait_until(lambda: topic not in client.list_topics(timeout=60).topics, 60, "it stays")
    deployment.create_topics()


def produce(deployment: Deployment, count: int = COUNT) -> None:
    """Send generated purchases."""
    deployment.succeed("produce", "--rate", "max", "--count", str(count))


def drain(deployment: Deployment) -> None:
    """Let both apps do what is there."""
    deployment.process()
    deployment.analyze()


def positions(deployment: Deployment) -> list[dict[str, Any]]:
    """Return what `offsets list --json` prints."""
    positions: list[dict[str, Any]] = json.loads(deployment.succeed("offsets", "list", "--json"))[
        "positions"
    ]
    return positions


def states(deployment: Deployment, app: str) -> set[str]:
    """Return the states of an app's positions on purchases or analytics."""
    return {
        str(p["state"])
        for p in positions(deployment)
        if p["app"] == app and not p["topic"].endswith(("dlq", "redrive"))
    }


def log_of(deployment: Deployment, command: str) -> str:
    """Return what the supervisor that the command ran, and its workers, have logged."""
    return (deployment.home / f"{command}.log").read_text()


def failure(deployment: Deployment, app: str) -> Callable[[], bool]:
    """Return the condition that an app's worker has stopped, naming the remedy."""

    def has_stopped() -> bool:
        status = read_status(deployment.home, app, 0)
        return status is not None and "purchases offsets reset" in status.detail

    return has_stopped


def require_crash_loop(deployment: Deployment) -> None:
    """Wait until the status shows a crash loop with its cause, which is still retried."""
    problem: dict[str, str] = {}

    def shows_crash_loop() -> bool:
        status = json.loads(deployment.run("status", "--json").stdout)
        problem.update(next((p for p in status["problems"] if p["code"] == "crash_loop"), {}))
        return bool(problem)

    wait_until(shows_crash_loop, 150, "the status shows no crash loop")
    assert "has no position any more" in problem["sentence"]
    deaths = log_of(deployment, "process").count("worker_ended")
    wait_until(
        lambda: log_of(deployment, "process").count("worker_ended") > deaths, 60, "it was given up"
    )


def delete_group(deployment: Deployment) -> None:
    """Delete the processor's group, as Kafka does with its offsets when nobody ran for a week."""
    client, group = admin(deployment), deployment.topic("purchase-processor")
    wait_until(
        lambda: client.delete_consumer_groups([group])[group].exception(60) is None,
        60,
        "the group is not empty",
    )
