"""Our own schemas in the registry: registered by the topics' names, and compared with its own.

The schemas are made in `events.topic_schemas`.
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote

import msgspec
from msgspec import Struct

from streaming.errors import PurchasesError, UsageError
from streaming.events.topic_schemas import CONTRACTS, json_schema
from streaming.formatting import printable_text
from streaming.kafka.names import Names
from streaming.kafka.registry.address import URL, RegistryAddress, registry_address
from streaming.kafka.registry.client import NOT_FOUND, Answer, ask, require_registry
from streaming.settings import PREFIX, Settings
from streaming.system.http_exchange import SHOWN

COMPATIBILITY: Final = {"purchases": "FORWARD", "analytics": "BACKWARD"}
"""Who reads `analytics` by a newer schema must read what older ones wrote. The processor of today
must read what newer producers send to `purchases`."""
MESSAGES: Final = 3
"""Of an incompatible schema, of which a registry may send one for each field."""


class RegisteredSchema(Struct, frozen=True):
    """A schema that the registry has: its subject, its id, and how the next one may differ."""

    subject: str
    id: int
    compatibility: str


class SchemaCheck(Struct, frozen=True):
    """Whether a schema may follow the registered one; if there is none it may, or it is null."""

    subject: str
    compatible: bool | None
    messages: tuple[str, ...] = ()


def topic_schemas(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return the JSON Schemas of this release by subject."""
    return {_subject(settings, topic): json_schema(topic) for topic in CONTRACTS}


def register_schemas(settings: Settings) -> list[RegisteredSchema]:
    """Register the schemas of this release, and how later ones must fit them; again is the same.

    Raises `PurchasesError` if the registry refuses one, `UsageError` without a registry, and
    `Unavailable` if it does not answer.
    """
    address, registered = _address(settings), []
    for topic in CONTRACTS:
        subject, level = _subject(settings, topic), COMPATIBILITY[topic]
        path = f"subjects/{quote(subject, safe='')}/versions"
        answer = _ask(address, path, "POST", _content(json_schema(topic)), subject)
        schema_id = answer.get("id")
        if not isinstance(schema_id, int):
            raise PurchasesError(f"The registry gave {subject} no id; is {address.url} a registry?")
        # Afterwards, because not every registry takes it of a subject that does not exist yet.
        config = f"config/{quote(subject, safe='')}"
        _ask(address, config, "PUT", {"compatibility": level}, subject)
        registered.append(RegisteredSchema(subject, schema_id, level))
    return registered


def check_schemas(
    settings: Settings, schemas: Mapping[str, Mapping[str, Any]] | None = None
) -> list[SchemaCheck]:
    """Ask the registry whether schemas by subject (those of this release) may follow its own.

    Raises what `register_schemas` does.
    """
    address = _address(settings)
    return [
        _check(address, subject, schema)
        for subject, schema in (schemas or topic_schemas(settings)).items()
    ]


def _check(address: RegistryAddress, subject: str, schema: Mapping[str, Any]) -> SchemaCheck:
    path = f"compatibility/subjects/{quote(subject, safe='')}/versions/latest?verbose=true"
    answer = ask(address, path, "POST", _content(schema))
    content = answer.json()
    if answer.status == NOT_FOUND:
        require_registry(address, path, answer)
        return SchemaCheck(subject, None)
    if not isinstance(content, dict) or not isinstance(content.get("is_compatible"), bool):
        raise PurchasesError(_refusal(subject, answer))
    messages = content.get("messages")
    shown = messages[:MESSAGES] if isinstance(messages, list) else []
    return SchemaCheck(subject, content["is_compatible"], tuple(str(one)[:SHOWN] for one in shown))


def _address(settings: Settings) -> RegistryAddress:
    address = registry_address(settings)
    if address is None:
        raise UsageError(
            f"No schema registry is named; set {PREFIX}SCHEMA_REGISTRY_URL, or {URL} in the file of"
            f" {PREFIX}KAFKA_CONFIG."
        )
    return address


def _subject(settings: Settings, topic: str) -> str:
    """Return the subject of a topic's values, as Confluent's programs name it."""
    names = Names.of(settings)
    return f"{names.purchases if topic == 'purchases' else names.analytics}-value"


def _content(schema: Mapping[str, Any]) -> dict[str, str]:
    return {"schemaType": "JSON", "schema": msgspec.json.encode(schema).decode()}


def _ask(
    address: RegistryAddress, path: str, method: str, content: object, subject: str
) -> dict[str, Any]:
    answer = ask(address, path, method, content)
    body = answer.json()
    if not answer.ok or not isinstance(body, dict):
        raise PurchasesError(_refusal(subject, answer))
    return body


def _refusal(subject: str, answer: Answer) -> str:
    content = answer.json()
    said = content.get("message") if isinstance(content, dict) else None
    reason = printable_text(str(said))[:SHOWN] if said else f"it answers with {answer.status}"
    return f"The schema registry refuses the schema of {subject}: {reason}"
