"""Our schemas in a real registry, and which next version of them it takes."""

import json
from pathlib import Path
from typing import Any

from confluent_kafka.schema_registry import Schema

from streaming.events.analytics import decode_analytics, storable_rules
from streaming.events.topic_schemas import json_schema
from streaming.kafka.registry.subjects import check_schemas, topic_schemas
from tests.deployment import Deployment
from tests.registry.producers import client
from tests.registry.server import Registry
from tests.support import unique_namespace

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
    registered = client(registry)
    registered.register_schema(subject, Schema(json.dumps(schema), "JSON"))
    registered.set_compatibility(subject, "BACKWARD")
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
