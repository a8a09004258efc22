"""Permissions that are taken away while it runs: workers wait and go on, senders say which."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from starlette.responses import Response

from streaming.dashboard.ingest import PurchaseIngest
from streaming.dashboard.ingest_records import IngestBatch, IngestRecord
from streaming.errors import Unavailable
from streaming.kafka.acls import consumer_rules, processor_rules
from streaming.kafka.config import producer_config
from streaming.kafka.names import Names
from streaming.producer.sender import RecordSender
from streaming.runtime.status_file import read_status
from streaming.store.preparation import prepare_store
from streaming.system.shutdown import StopRequest
from tests.deployment import Deployment
from tests.kafka.secured import Secured, secured_broker
from tests.support import wait_until

PROCESSOR, ANALYTICS = "processor", "analytics"
TAKEN_AWAY = (
    (PROCESSOR, "TOPIC", "f.purchases", "READ on the topic f.purchases"),
    (PROCESSOR, "GROUP", "f.purchase-processor", "READ on the group f.purchase-processor"),
    (ANALYTICS, "TOPIC", "f.analytics", "READ on the topic f.analytics"),
    (ANALYTICS, "GROUP", "{group}", "READ on groups that begin with f.analytics-consumer-"),
)
"""App, kind and name of what it may no longer read, and what it says is lacking."""


@pytest.fixture(scope="module")
def secured(jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """A broker with permissions: those of the table for both apps."""
    with secured_broker(jars, tmp_path_factory.mktemp("secured")) as made:
        made.grant(PROCESSOR, processor_rules(Names("f")))
        made.grant(ANALYTICS, consumer_rules(Names("f")))
        yield made


def says(deployment: Deployment, app: str, state: str, words: str) -> bool:
    """Return whether the app's worker is in the state, with the words in its reason."""
    status = read_status(deployment.home, app, 0)
    return status is not None and status.state == state and words in status.detail


def is_refused(deployment: Deployment, words: str) -> bool:
    """Return whether `process` is refused by one line with the words.

    A question that a busy broker does not answer in time is refused by other words.
    """
    refused = deployment.run("process", "--until-caught-up", "--slots", "1")
    assert refused.returncode == 1, refused.stderr
    return words in refused.stderr and len(refused.stderr.splitlines()) == 1


@pytest.mark.faults
def test_a_worker_waits_for_each_permission_that_is_taken_away(
    secured: Secured, tmp_path: Path
) -> None:
    """It is paused by the permission's name, and goes on by itself once it is granted again."""
    deployment = Deployment(tmp_path, secured.plaintext, "f")
    deployment.create_topics()
    group = f"f.analytics-consumer-{prepare_store(deployment.settings)[:8]}"

    def of(app: str) -> Deployment:
        file = str(secured.properties(app, app))
        return replace(deployment, more={"PURCHASES_KAFKA_CONFIG": file})

    sent = 50
    with of(PROCESSOR).running("process"), of(ANALYTICS).running("analyze"):
        deployment.succeed("produce", "--rate", "max", "--count", "50")
        wait_until(lambda: deployment.count("analytics_event") == 50, 60, "nothing is stored")
        for app, kind, name, lacking in TAKEN_AWAY:
            rule = ("DENY", app, kind, name.format(group=group), "READ")
            secured.rule(*rule)
            sent += 50
            deployment.succeed("produce", "--rate", "max", "--count", "50")
            words = f"This user lacks the permission {lacking}; grant it."
            wait_until(lambda: says(deployment, app, "paused", words), 60, f"no wait: {lacking}")  # noqa: B023
            secured.remove_rule(*rule)
            wait_until(
                lambda: deployment.count("analytics_event") == sent,  # noqa: B023
                60,
                f"it does not go on: {lacking}",
            )

        rule = ("DENY", PROCESSOR, "TRANSACTIONAL_ID", "f.processor-0", "WRITE")
        secured.rule(*rule)
        deployment.succeed("produce", "--rate", "max", "--count", "50")
        words = "lacks the permission WRITE on transactional ids that begin with f.processor-;"
        wait_until(lambda: says(deployment, PROCESSOR, "paused", words), 60, "it does not wait")
        wait_until(lambda: is_refused(of(PROCESSOR), words), 60, "a second one does not say it")
        secured.remove_rule(*rule)
        wait_until(lambda: deployment.count("analytics_event") == sent + 50, 60, "it ended")
    # What the client prints by itself begins with its level.
    assert "%0|" not in (deployment.home / "process.log").read_text()


def answer_text(ingest: PurchaseIngest, batch: IngestBatch) -> str:
    """Return what HTTP in answers to a batch that Kafka does not take; empty if it does."""
    try:
        answer = ingest.send(batch)
    except Unavailable as error:
        return str(error)
    return bytes(answer.body).decode() if isinstance(answer, Response) else ""


@pytest.mark.faults
def test_a_sender_names_the_permission_that_is_taken_away(secured: Secured, tmp_path: Path) -> None:
    """`produce` and HTTP in do not end with the client's words alone, and work once it is back."""
    deployment = Deployment(tmp_path, secured.plaintext, "w")
    deployment.create_topics()
    secured.allow("producer", "TOPIC", "w.purchases", "WRITE")
    file = str(secured.properties("producer", "producer"))
    settings = replace(
        deployment, more={"PURCHASES_KAFKA_CONFIG": file, "PURCHASES_HTTP_IN": "on"}
    ).settings
    config = producer_config(settings, secured.secured, "producer")
    batch = IngestBatch((IngestRecord(None, b"ada", b"{}"),), [])
    sender, ingest = (
        RecordSender(config, "w.purchases", StopRequest()),
        PurchaseIngest(settings),
    )
    assert not answer_text(ingest, batch)
    assert sender.send(b"ada", b"{}")
    assert sender.wait_until_drained()
    rule = ("DENY", "producer", "TOPIC", "w.purchases", "WRITE")
    secured.rule(*rule)
    words = "this user lacks the permission WRITE on the topic w.purchases; grant it"

    wait_until(lambda: words in answer_text(ingest, batch), 60, "HTTP in does not name it")
    sender.send(b"ada", b"{}")
    sender.finish()
    assert sender.failure is not None
    assert words in sender.failure
    secured.remove_rule(*rule)
    wait_until(lambda: not answer_text(ingest, batch), 60, "HTTP in does not go on again")
