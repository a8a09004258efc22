"""A real schema registry: records framed by it are read or refused, and our schemas registered."""

import json
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from streaming.apps import PROCESSOR
from streaming.errors import Unavailable
from streaming.events.analytics import decode_analytics, storable_rules
from streaming.events.record import Record
from streaming.events.refusal import Refusal
from streaming.events.topic_schemas import json_schema
from streaming.kafka.registry.schemas import ASKED_AT_ONCE, SchemaCache, schema_cache
from streaming.kafka.registry.subjects import check_schemas, topic_schemas
from streaming.runtime.status_file import read_status
from streaming.status.collect import collect_status
from streaming.status.model import Section
from streaming.status.registry import read_registry_section
from tests.deployment import Deployment
from tests.registry.producers import (
    PROTOBUF,
    avro_serializer,
    by_header,
    client,
    frame_purchase,
    json_serializer,
    register,
    send,
)
from tests.registry.server import Registry
from tests.support import unique_namespace, wait_until

NOON = datetime(2025, 11, 24, 12, tzinfo=UTC)
EVENT = {
    "event_id": "019ab697-e800-830d-9f67-0b4cd658947f",
    "event_time": "2025-11-24T12:00:00.000000Z",
    "kind": "sale",
    "item": "tea",
    "quantity": 1,
    "currency": "GBP",
    "processed_at": "2025-11-24T12:00:01.000000Z",
    "source_topic": "purchases",
    "source_partition": 0,
    "source_offset": 7,
    "source_timestamp": 1_763_985_600_000,
    "schema_version": 1,
}


def a_sale(**fields: object) -> dict[str, Any]:
    """Return a purchase as a program of another team has it."""
    return {
        "user": "ada",
        "item": "tea",
        "timestamp": NOON,
        "unit_price": Decimal("12.50"),
    } | fields


def in_json(sale: dict[str, Any]) -> dict[str, Any]:
    """Return the same purchase as JSON has it."""
    return sale | {"timestamp": NOON.isoformat(), "unit_price": str(sale["unit_price"])}


def reasons(deployment: Deployment) -> dict[str, int]:
    """Return how many dead letters there are, by reason."""
    counts: dict[str, int] = json.loads(deployment.succeed("dlq", "list", "--json"))["counts"]
    return counts


def test_framed_purchases_are_stored_in_every_form(
    deployment: Deployment, registry: Registry
) -> None:
    """Avro and JSON Schema, by prefix and by header: one purchase each, and its figures exact.

    Without a registry three of the four are refused, by a detail that says what to set; with one
    the dry run says that they will be stored, and so they are.
    """
    avro, in_text = avro_serializer(registry), json_serializer(registry)
    ids = [str(uuid.uuid4()) for _ in range(4)]
    values = [frame_purchase(avro, deployment, a_sale(event_id=one, quantity=2)) for one in ids[:2]]
    values += [
        frame_purchase(in_text, deployment, in_json(a_sale(event_id=one))) for one in ids[2:]
    ]
    send(deployment, values[0], by_header(values[1]), values[2], by_header(values[3]))
    deployment.process()
    deployment.analyze()
    assert reasons(deployment) == {"malformed_json": 3}
    dead_letters = json.loads(deployment.succeed("dlq", "list", "--json"))["dead_letters"]
    assert all(
        "set PURCHASES_SCHEMA_REGISTRY_URL" in dead_letter["detail"] for dead_letter in dead_letters
    )

    with_registry = replace(deployment, more={"PURCHASES_SCHEMA_REGISTRY_URL": registry.url})
    shown = [
        json.loads(with_registry.succeed("dlq", "show", one["id"], "--json"))
        for one in dead_letters
    ]
    assert {json.loads(one["decoded"])["event_id"] for one in shown} == set(ids[:3])
    assert all("schema id" in one["framing"] for one in shown)
    assert json.loads(with_registry.succeed("dlq", "redrive", "--json"))["outcomes"] == {
        "stored": 3
    }
    with_registry.succeed("dlq", "redrive", "--yes")
    with_registry.process()
    with_registry.analyze()
    assert reasons(with_registry) == {}
    assert with_registry.count("analytics_event") == 4
    totals = json.loads(with_registry.succeed("totals", "--json"))
    assert (totals["items_sold"], totals["net_revenue"]) == (6, "75.00")
    # Of the schemas of `purchases` nothing goes along: these events are JSON of another.
    for message in with_registry.read_topic("analytics"):
        assert "__value_schema_id" not in dict(message.headers() or ())
    with_registry.succeed("verify")


def test_a_schema_that_is_not_read_is_named(deployment: Deployment, registry: Registry) -> None:
    """An id that nobody registered, Protobuf, a value of another schema, and a repaired one."""
    with_registry = replace(deployment, more={"PURCHASES_SCHEMA_REGISTRY_URL": registry.url})
    subject = f"{deployment.topic('purchases')}-proto"
    protobuf = register(registry, subject, PROTOBUF, "PROTOBUF")
    avro = frame_purchase(avro_serializer(registry), deployment, a_sale())
    send(
        with_registry,
        b"\0" + (424_242).to_bytes(4) + b"x",
        b"\0" + (2**32 - 1).to_bytes(4) + b"x",
        b"\0" + protobuf.to_bytes(4) + b"\0\x0a\3tea",
        (b"tea", [("__value_schema_id", b"\1" + uuid.uuid4().bytes)]),
        avro[:5] + b"\xff" * 9,
        by_header(avro[:-1]),
    )
    # Where a worker's file goes, whose process a supervisor starts otherwise.
    (with_registry.home / "workers").mkdir(exist_ok=True)
    with_registry.process()
    with_registry.analyze()
    assert reasons(with_registry) == {"unknown_schema": 4, "schema_mismatch": 2}
    dead_letters = json.loads(with_registry.succeed("dlq", "list", "--json"))["dead_letters"]
    details = " ".join(dead_letter["detail"] for dead_letter in dead_letters)
    assert "schema id 424242 is not in the schema registry" in details
    assert f"schema id {protobuf} is Protobuf, which is not read" in details
    # The worker has ended; its file says what it looked up.
    worker = read_status(with_registry.home, PROCESSOR.name, 0)
    assert worker is not None
    counts = {"schemas_found": 1, "schemas_refused": 4, "schemas_not_asked": 0}
    require_section(
        lambda: read_registry_section(with_registry.settings, [worker]),
        Section({"answers": True, **counts}),
    )
    require_section(
        lambda: collect_status(with_registry.settings, {}, PROCESSOR.name).sections["registry"],
        Section({"answers": True, **dict.fromkeys(counts, 0)}),
    )
    # A correction is JSON, whatever schema the header named.
    last = dead_letters[0]["id"]
    edits = with_registry.home / "edits.jsonl"
    value = json.dumps(in_json(a_sale()))
    edits.write_text(json.dumps({"id": last, "value": json.loads(value)}))
    assert '"stored":1' in with_registry.succeed(
        "dlq", "redrive", last, "--edit", str(edits), "--json"
    )


def require_section(read: Callable[[], Section | None], expected: Section) -> None:
    """Look until the section is as expected: a look gives the registry less than a second."""
    wait_until(lambda: read() == expected, 60, f"the section is not {expected}")


def learn_all(cache: SchemaCache, batch: list[Record]) -> None:
    """Ask as often as a worker does if the registry is slow."""

    def is_learnt() -> bool:
        try:
            cache.learn(batch)
        except Unavailable:
            return False
        return True

    wait_until(is_learnt, 120, "the registry does not answer")


@pytest.mark.faults
def test_five_thousand_unknown_ids_cost_the_registry_two_hundred_questions(
    deployment: Deployment, registry: Registry
) -> None:
    """The others are refused unasked, an honest schema among them is found, and time heals."""
    settings = replace(deployment, more={"PURCHASES_SCHEMA_REGISTRY_URL": registry.url}).settings
    cache = schema_cache(settings)
    assert cache is not None
    honest = frame_purchase(avro_serializer(registry), deployment, a_sale())
    hostile = [b"\0" + (10**6 + number).to_bytes(4) + b"x" for number in range(5_000)]
    batch = [
        Record("purchases", bytes(16), 0, number, 0, None, value)
        for number, value in enumerate([*hostile, honest, honest])
    ]
    learn_all(cache, batch)
    asked = Counter(isinstance(schema, Refusal) for schema in cache.readers.values())
    assert asked == {True: ASKED_AT_ONCE - 1, False: 1}
    assert cache.lookups.unasked == len(hostile) - ASKED_AT_ONCE + 1
    before = len(cache.readers)
    learn_all(cache, batch)
    # A few more as time passes, and none twice.
    assert len(cache.readers) - before < ASKED_AT_ONCE
    assert cache.lookups.readable + cache.lookups.refused == len(cache.readers)


def test_our_schemas_are_registered_once_and_take_only_what_old_readers_read(
    registry: Registry, tmp_path: Path
) -> None:
    """A new optional field of `analytics` fits, and old readers go on; one that is gone does not.

    `purchases` takes new fields too, because the processor ignores what it does not know.
    """
    more = {"PURCHASES_SCHEMA_REGISTRY_URL": registry.url}
    # No broker is asked.
    shop = Deployment(tmp_path, "127.0.0.1:9", unique_namespace(), more)
    # What is not there yet is no obstacle.
    shop.succeed("schemas", "check")
    first = json.loads(shop.succeed("schemas", "register", "--json"))
    assert json.loads(shop.succeed("schemas", "register", "--json")) == first
    assert [one["compatibility"] for one in first] == ["FORWARD", "BACKWARD"]
    assert "OK: all schemas fit." in shop.succeed("schemas", "check")

    subject = f"{shop.topic('analytics')}-value"
    ours = topic_schemas(shop.settings)[subject]

    def fits(**properties: object) -> bool | None:
        schema: dict[str, Any] = json.loads(json.dumps(ours))
        for name, kind in properties.items():
            if kind is None:
                del schema["properties"][name]
                schema["required"].remove(name)
            else:
                schema["properties"][name] = kind
        return check_schemas(shop.settings, {subject: schema})[0].compatible

    assert fits(channel={"type": "string"})
    assert not fits(item=None)
    assert not fits(quantity={"type": "string"})
    # Today's consumer stores an event of that next version.
    next_event = json.dumps(EVENT | {"channel": "web"}).encode()
    event = decode_analytics(next_event, storable_rules("GBP", {"purchases": 1}))
    assert event.item == "tea"


def test_what_does_not_fit_ends_a_build(registry: Registry, tmp_path: Path) -> None:
    """`check` exits with 1 and says which schema, and without a registry with 2 and what to set."""
    more = {"PURCHASES_SCHEMA_REGISTRY_URL": registry.url}
    shop = Deployment(tmp_path, "127.0.0.1:9", unique_namespace(), more)
    subject, other = f"{shop.topic('analytics')}-value", {"item": {"type": "integer"}}
    schema = json_schema("analytics")
    schema["properties"] |= other
    register(registry, subject, json.dumps(schema), "JSON")
    client(registry).set_compatibility(subject, "BACKWARD")
    done = shop.run("schemas", "check")
    assert done.returncode == 1
    assert "FAILED: a schema is not compatible." in done.stdout
    assert f"{subject} is not compatible" in done.stdout
    refused = shop.run("schemas", "register")
    assert refused.returncode == 1
    assert f"The schema registry refuses the schema of {subject}" in refused.stderr
    alone = Deployment(tmp_path, "127.0.0.1:9", shop.namespace).run("schemas", "check")
    assert alone.returncode == 2
    assert "No schema registry is named; set PURCHASES_SCHEMA_REGISTRY_URL" in alone.stderr
