"""Framed records and a real schema registry: read, refused, waited for, redriven."""

import json
import uuid
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from confluent_kafka.schema_registry import Schema

from streaming.events.record import Record
from streaming.events.refusal import Refusal
from streaming.kafka.registry.schemas import ASKED_AT_ONCE, schema_cache
from tests.deployment import Deployment
from tests.registry.producers import (
    PROTOBUF,
    avro_serializer,
    by_header,
    client,
    framed,
    json_serializer,
    send,
)
from tests.registry.server import Registry

NOON = datetime(2025, 11, 24, 12, tzinfo=UTC)


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
    values = [framed(avro, deployment, a_sale(event_id=one, quantity=2)) for one in ids[:2]]
    values += [framed(in_text, deployment, in_json(a_sale(event_id=one))) for one in ids[2:]]
    send(deployment, values[0], by_header(values[1]), values[2], by_header(values[3]))
    deployment.process()
    deployment.analyze()
    assert reasons(deployment) == {"malformed_json": 3}
    letters = json.loads(deployment.succeed("dlq", "list", "--json"))["dead_letters"]
    assert all("set PURCHASES_SCHEMA_REGISTRY_URL" in letter["detail"] for letter in letters)

    known = replace(deployment, more={"PURCHASES_SCHEMA_REGISTRY_URL": registry.url})
    shown = [json.loads(known.succeed("dlq", "show", one["id"], "--json")) for one in letters]
    assert {json.loads(one["decoded"])["event_id"] for one in shown} == set(ids[:3])
    assert all("schema id" in one["framing"] for one in shown)
    assert json.loads(known.succeed("dlq", "redrive", "--json"))["outcomes"] == {"stored": 3}
    known.succeed("dlq", "redrive", "--yes")
    known.process()
    known.analyze()
    assert reasons(known) == {}
    assert known.count("analytics_event") == 4
    totals = json.loads(known.succeed("totals", "--json"))
    assert (totals["items_sold"], totals["net_revenue"]) == (6, "75.00")
    # Of the schemas of `purchases` nothing goes along: these events are JSON of another.
    for message in known.read_topic("analytics"):
        assert "__value_schema_id" not in dict(message.headers() or ())
    known.succeed("verify")


def test_a_schema_that_is_not_read_is_named(deployment: Deployment, registry: Registry) -> None:
    """An id that nobody registered, Protobuf, a value of another schema, and a repaired one."""
    known = replace(deployment, more={"PURCHASES_SCHEMA_REGISTRY_URL": registry.url})
    protobuf = client(registry).register_schema(
        f"{deployment.topic('purchases')}-proto", Schema(PROTOBUF, "PROTOBUF")
    )
    avro = framed(avro_serializer(registry), deployment, a_sale())
    send(
        known,
        b"\0" + (424_242).to_bytes(4) + b"x",
        b"\0" + (2**32 - 1).to_bytes(4) + b"x",
        b"\0" + protobuf.to_bytes(4) + b"\0\x0a\3tea",
        (b"tea", [("__value_schema_id", b"\1" + uuid.uuid4().bytes)]),
        avro[:5] + b"\xff" * 9,
        by_header(avro[:-1]),
    )
    known.process()
    known.analyze()
    assert reasons(known) == {"unknown_schema": 4, "schema_mismatch": 2}
    letters = json.loads(known.succeed("dlq", "list", "--json"))["dead_letters"]
    details = " ".join(letter["detail"] for letter in letters)
    assert "schema id 424242 is not in the schema registry" in details
    assert f"schema id {protobuf} is Protobuf, which is not read" in details
    # A correction is JSON, whatever schema the header named.
    last = letters[0]["id"]
    edits = known.home / "edits.jsonl"
    value = json.dumps(in_json(a_sale()))
    edits.write_text(json.dumps({"id": last, "value": json.loads(value)}))
    assert '"stored":1' in known.succeed("dlq", "redrive", last, "--edit", str(edits), "--json")


def test_a_million_unknown_ids_cost_the_registry_two_hundred_questions(
    deployment: Deployment, registry: Registry
) -> None:
    """The others are refused unasked, an honest schema among them is found, and time heals."""
    settings = replace(deployment, more={"PURCHASES_SCHEMA_REGISTRY_URL": registry.url}).settings
    cache = schema_cache(settings)
    assert cache is not None
    honest = framed(avro_serializer(registry), deployment, a_sale())
    hostile = [b"\0" + (10**6 + number).to_bytes(4) + b"x" for number in range(5_000)]
    batch = [
        Record("purchases", bytes(16), 0, number, 0, None, value)
        for number, value in enumerate([*hostile, honest, honest])
    ]
    cache.learn(batch)
    asked = Counter(isinstance(schema, Refusal) for schema in cache.known.values())
    assert asked == {True: ASKED_AT_ONCE - 1, False: 1}
    assert cache.lookups.unasked == len(hostile) - ASKED_AT_ONCE + 1
    before = len(cache.known)
    cache.learn(batch)
    # A few more as time passes, and none twice.
    assert len(cache.known) - before < ASKED_AT_ONCE
