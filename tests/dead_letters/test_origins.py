"""Origins count on `purchases.redrive` alone: forged ones, those of an earlier release."""

import json
import uuid
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from streaming.events.record import INT32_MAX, Header
from tests.deployment import Deployment
from tests.support import wait_until

TIME = "2011-03-27T10:15:00Z"
SECONDS = 60


def purchase(item: str, **fields: object) -> bytes:
    """Return a purchase, valid but for what is given."""
    event = {"user": "ada", "item": item, "timestamp": TIME, "unit_price": "2.50", **fields}
    return json.dumps(event).encode()


def send(deployment: Deployment, *records: tuple[bytes, list[Header]]) -> None:
    """Send values with headers to `purchases`, as anybody may."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for value, headers in records:
        producer.produce(
            deployment.topic("purchases"),
            value,
            b"ada",
            headers=list(headers),
        )
    assert producer.flush(SECONDS) == 0


def drain(deployment: Deployment) -> None:
    """Let both apps do what is there."""
    deployment.process()
    deployment.analyze()


def dead_letter_of(deployment: Deployment, reason: str) -> dict[str, Any]:
    """Return the one dead letter of this reason, as `dlq list --json` prints it."""
    every = ("open", "redriven", "stored", "parked", "dropped")
    states = [option for state in every for option in ("--state", state)]
    listed = deployment.succeed("dlq", "list", "--json", "--reason", reason, *states)
    (dead_letter,) = json.loads(listed)["dead_letters"]
    named: dict[str, Any] = dead_letter
    return named


def forge_headers(deployment: Deployment, reason: str, attempt: int = 1) -> list[Header]:
    """Return the headers of a redrive of the dead letter of this reason, as anybody writes them."""
    (row,) = deployment.rows(
        "SELECT origin_topic, origin_topic_id, origin_partition, origin_offset, origin_timestamp"
        " FROM dead_letter WHERE reason = ?",
        reason,
    )
    names = ("topic", "topic_id", "partition", "offset", "timestamp")
    said = dict(zip(names, row, strict=True)) | {"attempt": attempt}
    return [(f"origin.{name}", str(value).encode()) for name, value in said.items()]


def redrive(deployment: Deployment, *options: str) -> dict[str, Any]:
    """Send dead letters again; return what `dlq redrive --json` prints."""
    result: dict[str, Any] = json.loads(
        deployment.succeed("dlq", "redrive", "--json", "--yes", *options)
    )
    return result


def state_of(deployment: Deployment, reason: str) -> tuple[object, object]:
    """Return state and attempts of the dead letter of this reason."""
    dead_letter = dead_letter_of(deployment, reason)
    return dead_letter["state"], dead_letter["attempts"]


def items(deployment: Deployment) -> list[str]:
    """Return the items of all stored events, in order."""
    return [str(row[0]) for row in deployment.rows("SELECT item FROM analytics_event ORDER BY 1")]


def test_a_forged_origin_hides_replaces_and_parks_nothing(deployment: Deployment) -> None:
    """Of a stored dead letter and of an open one; with the highest attempt; `verify` agrees."""
    send(
        deployment,
        (purchase("stored", unit_price=-1), []),
        (purchase("open", quantity=0), []),
    )
    drain(deployment)
    redrive(deployment, "--reason", "invalid_price", "--set", "unit_price=1")
    drain(deployment)
    of_open = forge_headers(deployment, "invalid_quantity")
    of_stored = forge_headers(deployment, "invalid_price")
    highest = forge_headers(deployment, "invalid_quantity", INT32_MAX)
    send(
        deployment,
        (purchase("forged", event_id=str(uuid.uuid4())), of_open),
        (purchase("forged", event_id=str(uuid.uuid4())), of_stored),
        (purchase("forged"), of_open),
        (b"{", highest),
    )
    drain(deployment)
    assert state_of(deployment, "invalid_price") == ("stored", 1)
    assert state_of(deployment, "invalid_quantity") == ("open", 1)
    assert state_of(deployment, "invalid_origin") == ("open", 1)
    assert state_of(deployment, "malformed_json") == ("open", 1)
    assert items(deployment) == ["forged", "forged", "stored"]
    went_along = [set(message.headers() or []) for message in deployment.read_topic("analytics")]
    assert any(set(of_open) <= headers for headers in went_along)
    deployment.succeed("verify")

    redrive(deployment, "--reason", "invalid_quantity", "--set", "quantity=2")
    drain(deployment)
    assert state_of(deployment, "invalid_quantity") == ("stored", 1)
    assert items(deployment) == ["forged", "forged", "open", "stored"]
    deployment.succeed("verify")


def test_what_an_earlier_release_sent_again_is_neither_lost_nor_stored_twice(
    deployment: Deployment,
) -> None:
    """Such a record stands on `purchases`; without an id of its own it is refused, not guessed."""
    own = str(uuid.uuid4())
    send(
        deployment,
        (purchase("derived", unit_price=-1), []),
        (purchase("own", quantity=0, event_id=own), []),
    )
    drain(deployment)
    send(
        deployment,
        (purchase("derived"), forge_headers(deployment, "invalid_price")),
        (purchase("own", event_id=own), forge_headers(deployment, "invalid_quantity")),
    )
    drain(deployment)
    assert items(deployment) == ["own"]
    detail = dead_letter_of(deployment, "invalid_origin")["detail"]
    assert f"origin.* headers count on {deployment.topic('purchases.redrive')} alone" in detail

    result = redrive(deployment, "--set", "unit_price=2.50", "--set", "quantity=1")
    assert (result["outcomes"], result["left"]) == ({"stored": 2}, {"sent_before": 1})
    drain(deployment)
    assert items(deployment) == ["derived", "own"]
    assert state_of(deployment, "invalid_price") == ("stored", 1)
    assert state_of(deployment, "invalid_quantity") == ("stored", 1)
    deployment.succeed("verify")


def test_an_id_that_another_took_while_its_purchase_was_refused(deployment: Deployment) -> None:
    """Who was appended first keeps it; the repaired purchase is stored under an id of its own."""
    taken = str(uuid.uuid4())
    send(deployment, (purchase("honest", quantity=0, event_id=taken), []))
    send(deployment, (purchase("squatter", event_id=taken), []))
    drain(deployment)
    redrive(deployment, "--set", "quantity=1", "--set", "event_id=null")
    drain(deployment)
    assert items(deployment) == ["honest", "squatter"]
    assert state_of(deployment, "invalid_quantity") == ("stored", 1)
    deployment.succeed("verify")


def test_a_deployment_without_the_topic_goes_on_and_picks_it_up(deployment: Deployment) -> None:
    """`status` names it, redrive refuses in a sentence, and `topics create` is enough."""
    topic = deployment.topic("purchases.redrive")
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    admin.delete_topics([topic])[topic].result(SECONDS)
    wait_until(lambda: topic not in admin.list_topics(timeout=60).topics, SECONDS, "not deleted")
    deployment.succeed("db", "upgrade")
    with deployment.running("process"), deployment.running("analyze"):
        send(deployment, (purchase("fine"), []), (purchase("late", unit_price=-1), []))
        wait_until(
            lambda: deployment.count("dead_letter") == 1 and items(deployment) == ["fine"],
            SECONDS,
            "the stream does not go on",
        )

        def names_topic() -> bool:
            problems = json.loads(deployment.run("status", "--json").stdout)["problems"]
            return any(
                problem["code"] == "topic_missing" and topic in problem["sentence"]
                for problem in problems
            )

        # It gives the broker less than a second, which a loaded one may exceed.
        wait_until(names_topic, SECONDS, "the status does not name the topic")
        positions = json.loads(deployment.succeed("offsets", "list", "--json"))["positions"]
        assert all(position["topic"] != topic for position in positions)
        deployment.succeed("verify")
        repaired = ("dlq", "redrive", "--set", "unit_price=1", "--yes")
        refused = deployment.run(*repaired)
        assert refused.returncode == 1
        assert f"The topic {topic} does not exist" in refused.stderr
        assert len(refused.stderr.strip().splitlines()) == 1

        assert f"created {topic}" in deployment.succeed("topics", "create")
        deployment.succeed(*repaired)
        wait_until(lambda: items(deployment) == ["fine", "late"], 2 * SECONDS, "not picked up")
    deployment.succeed("verify")


def test_the_topic_has_as_many_partitions_as_purchases(deployment: Deployment) -> None:
    """So the records of a key share a partition number, also if an operator chose another."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    names = [deployment.topic(name) for name in ("purchases", "purchases.redrive")]
    topics = admin.list_topics(timeout=60).topics
    assert len({len(topics[name].partitions) for name in names}) == 1
