"""The AsyncAPI document: valid by AsyncAPI's own schema, committed as it is, and true."""

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from streaming.events.dead_letter import dead_letter
from streaming.events.record import ORIGIN, Headers, Record, origin_headers, own_origin
from streaming.events.refusal import Reason, Refusal
from streaming.events.topic_schemas import CONTRACTS, json_schema
from streaming.kafka.asyncapi import asyncapi_document
from streaming.kafka.names import Names
from tests.docs.asyncapi import document

ROOT = Path(__file__).parents[2]
DOCUMENT = asyncapi_document(Names())
LARGE = Record("purchases", bytes(16), 3, 7, 9, b"k" * 70_000, b"v" * 70_000, [("a", b"")] * 2_000)


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft7Validator:
    """The schema that AsyncAPI publishes, beside this file."""
    file = Path(__file__).parent / "asyncapi_schema" / "3.0.0.json.gz"
    return jsonschema.Draft7Validator(json.loads(gzip.decompress(file.read_bytes())))


def headers_fit(message: str, headers: Headers) -> bool:
    """Return whether headers are those that the document gives a message."""
    schema = DOCUMENT["components"]["messages"][message]["headers"]
    texts = {name: (value or b"").decode() for name, value in headers}
    return bool(jsonschema.Draft7Validator(schema).is_valid(texts))


def test_the_committed_document_is_what_the_code_makes() -> None:
    """If not: `.venv/bin/python -m tests.docs.asyncapi > docs/asyncapi.json`."""
    assert (ROOT / "docs" / "asyncapi.json").read_text() == document()


def test_the_document_is_valid_asyncapi(validator: jsonschema.Draft7Validator) -> None:
    """Also in a namespace; all its references lead somewhere."""
    for names in (Names(), Names("shop")):
        made = asyncapi_document(names)
        validator.validate(json.loads(json.dumps(made)))
        assert [channel["address"] for channel in made["channels"].values()] == names.topics
        for reference in references(made):
            node: Any = made
            for part in reference.removeprefix("#/").split("/"):
                node = node[part]


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d["channels"]["analytics"].update(address=5),
        lambda d: d["operations"]["sendDeadLetter"].update(action="publish"),
        lambda d: d["components"]["messages"]["Purchase"]["bindings"]["kafka"].update(key=5),
    ],
)
def test_the_validator_sees_what_is_wrong(
    validator: jsonschema.Draft7Validator, damage: Callable[[dict[str, Any]], None]
) -> None:
    """So that a valid document means something."""
    damaged = copy.deepcopy(DOCUMENT)
    damage(damaged)
    assert not validator.is_valid(damaged)


@pytest.mark.parametrize("topic", CONTRACTS)
def test_the_payloads_are_the_schemas_that_are_registered(topic: str) -> None:
    """One contract, not two."""
    message = next(iter(DOCUMENT["channels"][topic]["messages"]))
    payload = DOCUMENT["components"]["messages"][message]["payload"]["$ref"]
    schema = DOCUMENT["components"]["schemas"][payload.rpartition("/")[2]]
    registered = json_schema(topic)
    assert schema == {name: value for name, value in registered.items() if name != "$schema"}


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason != "not_storable"])
def test_the_headers_of_a_dead_letter_are_those_of_the_document(reason: Reason) -> None:
    """Each reason, and each mark of what was cut; none is left out, and none is of another name."""
    made = dead_letter(LARGE, own_origin(LARGE), Refusal(reason, "why"), 16 * 1024)
    ours = [header for header in made.headers if header[0].startswith("dlq.")]
    assert headers_fit("DeadLetter", ours)
    documented = DOCUMENT["components"]["messages"]["DeadLetter"]["headers"]["properties"]
    assert {name for name, _ in ours} == set(documented)
    assert not headers_fit("DeadLetter", ours[1:])


def test_the_headers_of_a_redriven_purchase_are_those_of_the_document() -> None:
    """All of them are required."""
    headers = origin_headers(own_origin(LARGE), ORIGIN)
    assert headers_fit("RedrivenPurchase", headers)
    assert not headers_fit("RedrivenPurchase", headers[1:])


def references(content: object) -> list[str]:
    """Return all references of a document."""
    if isinstance(content, dict):
        own = [content["$ref"]] if isinstance(content.get("$ref"), str) else []
        return own + [one for value in content.values() for one in references(value)]
    if isinstance(content, list):
        return [one for value in content for one in references(value)]
    return []
