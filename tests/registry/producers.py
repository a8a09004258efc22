"""Purchases as programs of others send them, by Confluent's own serializers."""

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Producer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.deployment import Deployment
from tests.registry.server import Registry

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

AVRO: Final = {
    "type": "record",
    "name": "Sale",
    "namespace": "shop",
    "fields": [
        {"name": "user", "type": ["null", "string"]},
        {"name": "item", "type": "string"},
        {"name": "timestamp", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "event_id", "type": ["null", "string"], "default": None},
        {"name": "quantity", "type": "int", "default": 1},
        {
            "name": "unit_price",
            "type": {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2},
        },
    ],
}
JSON_SCHEMA: Final = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": "Sale",
    "type": "object",
    "properties": {"user": {"type": "string"}, "item": {"type": "string"}},
}
PROTOBUF: Final = 'syntax = "proto3"; message Sale { string item = 1; }'

Serialize = Callable[[Any, SerializationContext], bytes | None]


def client(registry: Registry) -> "SchemaRegistryClient":
    """Return Confluent's own client of the registry."""
    # Every process collects what imports this file, and these imports take 0.3 s.
    from confluent_kafka.schema_registry import SchemaRegistryClient

    # The registry's server has left a request without an answer, and answered the next ones. This
    # client has no timeout of its own, and with one it asks again.
    return SchemaRegistryClient({"url": registry.url, "timeout": 20})


def register(registry: Registry, subject: str, schema: str, kind: str) -> int:
    """Register a schema by that client, and return its id."""
    from confluent_kafka.schema_registry import Schema

    return client(registry).register_schema(subject, Schema(schema, kind))


def avro_serializer(registry: Registry) -> Serialize:
    """Return Confluent's serializer of Avro, which registers the schema."""
    from confluent_kafka.schema_registry.avro import AvroSerializer

    made: Serialize = AvroSerializer(client(registry), json.dumps(AVRO))
    return made


def json_serializer(registry: Registry) -> Serialize:
    """Return Confluent's serializer of JSON Schema, which registers the schema."""
    from confluent_kafka.schema_registry.json_schema import JSONSerializer

    made: Serialize = JSONSerializer(json.dumps(JSON_SCHEMA), client(registry))
    return made


def frame_purchase(serialize: Serialize, deployment: Deployment, purchase: Any) -> bytes:  # noqa: ANN401
    """Return the value that a producer sends; each kind of schema has a subject of its own."""
    subject = f"{deployment.topic('purchases')}-{type(serialize).__name__}"
    context = SerializationContext(subject, MessageField.VALUE)
    value = serialize(purchase, context)
    assert value is not None
    return value


def by_header(value: bytes) -> tuple[bytes, list[tuple[str, bytes]]]:
    """Return the value without its prefix, and the header that names its schema instead."""
    return value[5:], [("__value_schema_id", value[:5])]


def send(
    deployment: Deployment,
    *values: bytes | tuple[bytes, Sequence[tuple[str, bytes]]],
    key: bytes = b"ada",
) -> None:
    """Send values, each maybe with headers, and wait until all are there."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers, "linger.ms": 50})
    for one in values:
        value, headers = (one, ()) if isinstance(one, bytes) else one
        producer.produce(deployment.topic("purchases"), value, key, headers=list(headers))
        producer.poll(0)
    assert producer.flush(60) == 0
