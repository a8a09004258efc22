"""Dead letters on a real broker: looked at, repaired, sent again, given up."""

import json
import random
import subprocess
import sys
import uuid
from contextlib import closing
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    ResourceType,
)

from streaming.cli.dlq_options import Selection
from streaming.dead_letters.reader import DeadLetterReader, DeadLetterRecord
from streaming.dead_letters.render import details
from streaming.errors import Unavailable
from streaming.events.dead_letter import DeadLetterHeaders
from streaming.events.record import Origin, Record
from streaming.settings import Settings
from streaming.store.dead_letters import (
    STATES,
    DeadLetterFilter,
    StoredDeadLetter,
    find_dead_letters,
)
from tests.databases import forget_store
from tests.deployment import Deployment
from tests.support import free_port, wait_until

TIME = "2011-03-27T10:15:00Z"


def send(deployment: Deployment, *values: object, key: bytes = b"ada") -> None:
    """Send values to `purchases`: bytes as they are, anything else as JSON."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for value in values:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        producer.produce(deployment.topic("purchases"), content, key, headers=[("till", b"7")])
    assert producer.flush(60) == 0


def purchase(**fields: object) -> dict[str, object]:
    """Return a valid purchase, but for what is given."""
    return {"user": "ada", "item": "tea", "timestamp": TIME, "unit_price": "2.50", **fields}


def drain(deployment: Deployment) -> None:
    """Let both apps do what is there."""
    deployment.process()
    deployment.analyze()


def list_dead_letters(deployment: Deployment, *options: str) -> list[dict[str, Any]]:
    """Return what `dlq list --json` prints."""
    listing = json.loads(deployment.succeed("dlq", "list", "--json", *options))
    dead_letters: list[dict[str, Any]] = listing["dead_letters"]
    assert sum(listing["counts"].values()) == len(dead_letters)
    return dead_letters


def redrive(deployment: Deployment, *options: str) -> dict[str, Any]:
    """Return what `dlq redrive --json` prints."""
    result: dict[str, Any] = json.loads(deployment.succeed("dlq", "redrive", "--json", *options))
    return result


def states(deployment: Deployment) -> list[tuple[object, ...]]:
    """Return reason, state and attempts of all dead letters, in the order they came."""
    return deployment.rows(
        "SELECT reason, state, attempts FROM dead_letter ORDER BY origin_partition, origin_offset"
    )


def await_states(deployment: Deployment, expected: list[tuple[object, ...]]) -> None:
    """Wait until the dead letters are these."""
    wait_until(lambda: states(deployment) == expected, 60, f"never {expected}")


def test_the_three_ways_to_repair_store_each_purchase_once(deployment: Deployment) -> None:
    """As it is after history begins earlier; by a rule; by a file of corrected values."""
    old = purchase(item="old", timestamp="1999-12-31T00:00:00Z")
    send(deployment, old, purchase(item="cheap", unit_price=-5), b'{"user": "ada", "item"')
    drain(deployment)
    reasons = {
        dead_letter["reason"]: dead_letter["id"] for dead_letter in list_dead_letters(deployment)
    }
    assert reasons.keys() == {"timestamp_too_old", "invalid_price", "malformed_json"}

    assert redrive(deployment)["outcomes"] == dict.fromkeys(reasons, 1)
    deployment.more["PURCHASES_HISTORY_START"] = "1999-01-01"
    plain = ("--reason", "timestamp_too_old")
    assert redrive(deployment, *plain) == {"sent": False, "outcomes": {"stored": 1}, "left": {}}
    assert deployment.count("analytics_event") == 0
    redrive(deployment, *plain, "--yes")

    rule = ("--reason", "invalid_price", "--set", "unit_price=5")
    assert redrive(deployment, *rule)["outcomes"] == {"stored": 1}
    redrive(deployment, *rule, "--yes")

    edits = deployment.home / "edits.jsonl"
    corrected = {"id": reasons["malformed_json"], "value": purchase(item="broken")}
    edits.write_text(json.dumps(corrected))
    assert redrive(deployment, "--edit", str(edits), "--yes")["outcomes"] == {"stored": 1}
    assert {row[1] for row in states(deployment)} == {"redriven"}

    drain(deployment)
    assert {row[1:] for row in states(deployment)} == {("stored", 1)}
    assert deployment.rows("SELECT item, unit_price_micros FROM analytics_event ORDER BY item") == [
        ("broken", 2_500_000),
        ("cheap", 5_000_000),
        ("old", 2_500_000),
    ]
    values = [message.value() for message in deployment.read_topic("purchases.dlq")]
    assert b'{"user": "ada", "item"' in values
    for message in deployment.read_topic("analytics"):
        assert ("till", b"7") in (message.headers() or [])
    deployment.succeed("verify")


def test_every_header_is_shown_and_a_marked_value_is_repaired(deployment: Deployment) -> None:
    """A name may come several times; a value may begin with a byte order mark."""
    value = b"\xef\xbb\xbf" + json.dumps(purchase(unit_price=-1)).encode()
    route: list[tuple[str, str | bytes | None]] = [
        ("route", b"till-3"),
        ("route", None),
        ("till", b"7"),
        ("route", b""),
    ]
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    producer.produce(deployment.topic("purchases"), value, b"ada", headers=route)
    assert producer.flush(60) == 0
    drain(deployment)
    (dead_letter,) = list_dead_letters(deployment)
    shown = json.loads(deployment.succeed("dlq", "show", dead_letter["id"], "--json"))
    assert [(h["name"], h["value"]) for h in shown["headers"]] == [
        ("route", "till-3"),
        ("route", None),
        ("till", "7"),
        ("route", ""),
    ]
    assert deployment.succeed("dlq", "show", dead_letter["id"]).count("header route") == 3
    redrive(deployment, "--set", "unit_price=2.50", "--yes")
    drain(deployment)
    assert deployment.rows("SELECT unit_price_micros FROM analytics_event") == [(2_500_000,)]


def test_redriven_twice_and_killed_in_the_middle_stores_once(deployment: Deployment) -> None:
    """What was sent but not marked is sent again, and known by its origin."""
    send(deployment, *(purchase(item=f"item {n}", unit_price=-1) for n in range(3_000)))
    drain(deployment)
    rule = ("dlq", "redrive", "--set", "unit_price=1", "--yes")
    slower = "from streaming.dead_letters import redrive; redrive.BATCH = 50"
    run = "import runpy; runpy.run_module('streaming', run_name='__main__')"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{slower}\n{run}", *rule],
        env=deployment.environment,
        stdout=subprocess.DEVNULL,
    )
    wait_until(
        lambda: deployment.rows("SELECT 1 FROM dead_letter WHERE state = 'redriven'"),
        60,
        "nothing was marked",
    )
    process.kill()
    process.wait()
    marked = deployment.rows("SELECT count(*) FROM dead_letter WHERE state = 'redriven'")[0][0]
    assert 0 < int(str(marked)) < 3_000, "it was not killed in the middle"
    deployment.succeed(*rule)
    deployment.succeed(*rule, "--state", "redriven")
    drain(deployment)
    assert deployment.count("analytics_event") == 3_000
    assert {row[1] for row in states(deployment)} == {"stored"}
    deployment.succeed("verify")


def test_what_is_refused_five_times_is_parked_until_forced(deployment: Deployment) -> None:
    """And both topics read again from the start give the same rows."""
    deployment.succeed("db", "upgrade")
    with deployment.running("process"), deployment.running("analyze"):
        send(deployment, purchase(quantity=0), purchase(item="fine"))
        for attempt in range(1, 5):
            await_states(deployment, [("invalid_quantity", "open", attempt)])
            assert redrive(deployment, "--yes")["outcomes"] == {"invalid_quantity": 1}
        await_states(deployment, [("invalid_quantity", "parked", 5)])
        left = {"sent": True, "outcomes": {}, "left": {"parked": 1}}
        assert redrive(deployment, "--yes") == left
        name = list_dead_letters(deployment)[0]["id"]
        assert redrive(deployment, name, "--yes") == left
        deployment.succeed("dlq", "drop", name, "--because", "a test", "--yes")
        assert redrive(deployment, "--state", "dropped", "--yes") == left
        shown = json.loads(deployment.succeed("dlq", "show", name, "--json"))
        assert [refusal["attempt"] for refusal in shown["refusals"]] == [1, 2, 3, 4, 5]
        forced = redrive(
            deployment, "--state", "dropped", "--force", "--set", "quantity=2", "--yes"
        )
        assert forced["outcomes"] == {"stored": 1}
        await_states(deployment, [("invalid_quantity", "stored", 5)])
        wait_until(lambda: deployment.count("analytics_event") == 2, 60, "not stored")
    before = deployment.rows("SELECT * FROM dead_letter")
    forget_store(deployment.settings)
    deployment.succeed("db", "upgrade")
    deployment.analyze()
    assert deployment.rows("SELECT * FROM dead_letter") == before
    assert deployment.count("analytics_event") == 2


def test_a_record_is_shown_with_all_that_is_kept_of_it(deployment: Deployment) -> None:
    """Bytes that are no text are escaped, so that they steer no terminal; ids may be short."""
    send(deployment, b"{\x1b[31m\xff\x00", key=b"\x1bkey")
    drain(deployment)
    dead_letter = list_dead_letters(deployment, "--key", "\x1bkey")[0]
    short = ":".join(dead_letter["id"].rsplit(":", 2)[1:])
    text = deployment.succeed("dlq", "show", short)
    assert "\x1b" not in text
    assert "{\\x1b[31m\\xff\\x00" in text
    assert "7b 1b 5b 33 31 6d ff 00" in text
    assert "header till" in text
    shown = json.loads(deployment.succeed("dlq", "show", dead_letter["id"], "--json"))
    assert bytes.fromhex(shown["value_hex"]) == b"{\x1b[31m\xff\x00"
    assert shown["refusals"][0]["reason"] == "malformed_json"
    assert "\x1b" not in deployment.succeed("dlq", "list")


def test_every_attempt_is_shown_whatever_partition_it_went_to(deployment: Deployment) -> None:
    """A dead-letter topic that was given more partitions spreads the records without a key."""
    send(deployment, b'{"user": null, "item"', key=b"")
    drain(deployment)
    topic = deployment.topic("purchases.dlq")
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    admin.create_partitions([NewPartitions(topic, 4)])[topic].result(60)
    for _ in range(3):
        redrive(deployment, "--force", "--yes")
        drain(deployment)
    (dead_letter,) = list_dead_letters(deployment, "--state", "open", "--state", "parked")
    shown = json.loads(deployment.succeed("dlq", "show", dead_letter["id"], "--json"))
    assert [refusal["attempt"] for refusal in shown["refusals"]] == [1, 2, 3, 4]


def test_a_broker_that_goes_away_is_unavailable(deployment: Deployment) -> None:
    """While one record is read, and while all attempts are: not the client's own error."""
    send(deployment, purchase(unit_price=-1))
    drain(deployment)
    with deployment.writing() as store:
        dead_letter = next(iter(find_dead_letters(store, DeadLetterFilter(STATES))))
    with closing(DeadLetterReader(deployment.settings, deployment.bootstrap_servers)) as reader:
        reader._consumer.close()
        reader._consumer = Consumer(
            {"bootstrap.servers": f"127.0.0.1:{free_port()}", "group.id": "gone", "log_level": 0}
        )
        for read in (reader.find, reader.attempts):
            with pytest.raises(Unavailable, match="broker does not answer"):
                read(dead_letter)


def test_a_dropped_dead_letter_keeps_its_reason_and_its_record(deployment: Deployment) -> None:
    """A dry run first; a dropped record can still be redriven."""
    send(deployment, purchase(quantity=0, item="a"), purchase(unit_price=-1))
    drain(deployment)
    drop = ("dlq", "drop", "--reason", "invalid_quantity", "--because", "a test till")
    assert deployment.succeed(*drop).startswith("Dry run: 1 would be dropped")
    assert list_dead_letters(deployment, "--state", "dropped") == []
    deployment.succeed(*drop, "--yes")
    dropped = list_dead_letters(deployment, "--state", "dropped")
    assert [dead_letter["dropped_because"] for dead_letter in dropped] == ["a test till"]
    assert redrive(deployment)["outcomes"] == {"invalid_price": 1}
    named = redrive(deployment, dropped[0]["id"], "--yes")
    assert named == {"sent": True, "outcomes": {}, "left": {"dropped": 1}}
    assert "given up; send them with --state dropped" in deployment.succeed(
        "dlq", "redrive", dropped[0]["id"]
    )
    fixed = redrive(deployment, "--state", "dropped", "--set", "quantity=1", "--yes")
    assert fixed["outcomes"] == {"stored": 1}
    drain(deployment)
    assert {row[:2] for row in states(deployment)} == {
        ("invalid_quantity", "stored"),
        ("invalid_price", "open"),
    }


def test_what_the_topic_no_longer_holds_or_cut_is_said(deployment: Deployment) -> None:
    """Neither is skipped in silence, nor sent as if it were whole."""
    large = b'{"user": "' + b"x" * (17 * 1024 * 1024 - 4_000) + b'"}'
    producer = Producer(
        {"bootstrap.servers": deployment.bootstrap_servers, "message.max.bytes": len(large) + 2_000}
    )
    topic = deployment.topic("purchases")
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    set_limit(admin, topic, len(large) + 2_000)
    producer.produce(topic, large, b"ada")
    assert producer.flush(60) == 0
    send(deployment, purchase(unit_price=-1))
    drain(deployment)
    assert redrive(deployment)["left"] == {"cut": 1}
    with deployment.writing() as store:
        store.execute("UPDATE dead_letter SET dlq_offset = 10000 WHERE reason = 'invalid_price'")
    printed = deployment.succeed("dlq", "redrive")
    assert "no longer has them" in printed
    assert "too large to be kept whole" in printed


@pytest.mark.parametrize(
    ("header", "size"),
    [(b"17000000", 17_000_000), (b"abc", None), (b"", None), (None, None), (b"9" * 5_000, None)],
)
def test_a_size_that_another_writer_wrote_is_shown_if_it_is_one(
    header: bytes | None, size: int | None
) -> None:
    """Anybody may write `dlq.*` headers; none of them keeps a dead letter from being shown."""
    topic_id = uuid.UUID(int=1).bytes
    stored = StoredDeadLetter(
        "AAAAAAAAAAAAAAAAAAAAAQ",
        0,
        0,
        "purchases",
        0,
        None,
        None,
        None,
        None,
        1,
        0,
        0,
        "open",
        None,
    )
    headers = [("dlq.truncated", header)]
    record = Record("purchases.dlq", topic_id, 0, 0, 0, None, b"{}", headers)
    origin = Origin("purchases", topic_id, 0, 0, 0, 1)
    last = DeadLetterRecord(record, DeadLetterHeaders(origin, "too_large", "large"))
    assert details(stored, last, [last], None).truncated_bytes == size


def test_what_is_still_too_large_is_left_and_holds_up_no_other(deployment: Deployment) -> None:
    """With its origin it would be more than the topic takes, and end what comes after it."""
    topic = deployment.topic("purchases")
    producer = Producer(
        {"bootstrap.servers": deployment.bootstrap_servers, "message.max.bytes": 2**21}
    )
    noise = random.Random(1).randbytes(2**20 - 100)
    producer.produce(topic, noise, b"ada")
    assert producer.flush(60) == 0
    send(deployment, purchase(unit_price=-1))
    drain(deployment)
    assert [reason for reason, _, _ in states(deployment)] == ["too_large", "invalid_price"]
    left = {"sent": True, "outcomes": {"invalid_price": 1}, "left": {"too_large": 1}}
    assert redrive(deployment, "--yes") == left
    assert "larger than a purchase may be" in deployment.succeed("dlq", "redrive")


def set_limit(admin: AdminClient, topic: str, size: int) -> None:
    """Let a topic take records of this size."""
    entry = ConfigEntry("max.message.bytes", str(size), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(60)


@pytest.mark.parametrize("zone", ["Pacific/Auckland", "America/New_York"])
def test_the_first_and_the_last_day_of_the_calendar_select_in_every_zone(zone: str) -> None:
    """In UTC they may be days that no calendar has."""
    selection = Selection(None, "0001-01-01", "9999-12-31T23:59:59", None, ())
    criteria = selection.dead_letter_filter(Settings(timezone=zone))
    assert criteria.since is not None
    assert criteria.until is not None
    assert criteria.since < 0 < criteria.until


TYPED_WRONG: list[tuple[tuple[str, ...], str]] = [
    (("dlq", "show", "nonsense"), "no id"),
    (("dlq", "show", f"{uuid.uuid4()}:0:1"), "no dead letter"),
    (("dlq", "list", "--state", "shut"), "must be one of"),
    (("dlq", "list", "--since", "soon"), "not a time"),
    (("dlq", "redrive", "--state", "stored"), "no redrive"),
    (("dlq", "redrive", "--set", "price=5"), "FIELD=VALUE"),
    (("dlq", "drop"), "because"),
    (("dlq", "drop", "--because", " "), "--because is empty"),
    (("dlq", "list", "--reason", "typo"), "--reason typo must be one of malformed_json"),
]


def test_what_is_typed_wrong_is_named(deployment: Deployment) -> None:
    """One sentence, exit code 2."""
    deployment.succeed("db", "upgrade")
    for arguments, said in TYPED_WRONG:
        done = deployment.run(*arguments)
        assert done.returncode == 2, arguments
        assert said in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1
