"""The published schemas agree with the contracts, in each form, and with values that are sent."""

import io
import json
from typing import Any

import jsonschema
import msgspec
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer

from streaming.events.analytics import AnalyticsEvent
from streaming.events.purchase import FIELDS, PurchaseFields
from streaming.events.topic_schemas import CONTRACTS, avro_schema, connect_schema, json_schema
from streaming.processor.transform import transform
from tests.events.given import RULES, purchase, record

PROCESSED = "2025-11-24T16:00:01.000000Z"
LIMIT = 16 * 1024


def an_event() -> dict[str, Any]:
    """An event as the processor publishes it."""
    output = transform(record(purchase(unit_price='"12.50"')), RULES, PROCESSED, LIMIT)
    event: dict[str, Any] = json.loads(output.value or b"")
    return event


def test_an_event_fits_the_schema_of_analytics_and_one_more_field_does_not() -> None:
    """Closed: so a new optional field of the next version is a compatible change."""
    validator = jsonschema.Draft7Validator(json_schema("analytics"))
    event = an_event()
    validator.validate(event)
    assert not validator.is_valid(event | {"channel": "web"})
    assert not validator.is_valid({k: v for k, v in event.items() if k != "event_id"})


def test_a_purchase_fits_the_schema_of_purchases_and_so_does_one_more_field() -> None:
    """Open, because unknown fields are ignored."""
    validator = jsonschema.Draft7Validator(json_schema("purchases"))
    value = json.loads(purchase(x='"y"'))
    validator.validate(value)
    assert not validator.is_valid(value | {"item": 5})


@pytest.mark.parametrize("topic", CONTRACTS)
def test_all_forms_have_all_fields(topic: str) -> None:
    """None is forgotten when a contract grows, and what is required is so in each form."""
    fields = CONTRACTS[topic].__struct_fields__
    schema, connect, avro = json_schema(topic), connect_schema(topic), avro_schema(topic)
    assert tuple(schema["properties"]) == fields
    assert tuple(field["field"] for field in connect["fields"]) == fields
    assert tuple(field["name"] for field in avro["fields"]) == fields
    required = [field["name"] for field in avro["fields"] if "default" not in field]
    assert schema["required"] == required


def test_an_event_goes_through_its_avro_schema() -> None:
    """A program that writes our events as Avro loses nothing."""
    schema = parse_schema(avro_schema("analytics"))
    file, event = io.BytesIO(), an_event()
    schemaless_writer(file, schema, event)
    file.seek(0)
    members = schemaless_reader(file, schema, None)
    assert isinstance(members, dict)
    assert {name: value for name, value in members.items() if value is not None} == event
    assert msgspec.convert(members, AnalyticsEvent) == msgspec.convert(event, AnalyticsEvent)


def test_of_several_types_connect_takes_text() -> None:
    """Connect has no unions, and text is exact."""
    types = {field["field"]: field["type"] for field in connect_schema("purchases")["fields"]}
    assert types["unit_price"] == types["timestamp"] == "string"
    assert tuple(types) == FIELDS == PurchaseFields.__struct_fields__
