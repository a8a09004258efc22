"""The AsyncAPI document of the topics, made from their names, contracts and headers; pure.

What is in a value is in `events`. The document of the HTTP API is in `api.openapi`.
"""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

from streaming.events.dead_letter import VERSION
from streaming.events.framing import VALUE_SCHEMA
from streaming.events.record import DEAD_LETTER, ORIGIN, Origin
from streaming.events.refusal import Reason
from streaming.events.topic_schemas import CONTRACTS, NAMES, json_schema
from streaming.kafka.names import Names
from streaming.kafka.topics import topic_definitions

BINDING: Final = {"bindingVersion": "0.5.0"}
TEXT: Final = {"type": "string"}
NUMBER: Final = {"type": "string", "pattern": "^-?[0-9]{1,19}$"}
"""Headers are bytes: a number is its decimal text."""
TEXTS_OF_ORIGIN: Final = frozenset({"topic", "topic_id"})


def asyncapi_document(names: Names) -> dict[str, Any]:
    """Return the AsyncAPI 3.0 document of a deployment's topics, ready to be encoded as JSON."""
    # The dialect of a schema inside is AsyncAPI's own, which has all of draft 7.
    schemas = {
        NAMES[topic]: {k: v for k, v in json_schema(topic).items() if k != "$schema"}
        for topic in CONTRACTS
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "purchases",
            "version": version("purchases"),
            "description": "Purchases in, each of them counted exactly once.",
        },
        "defaultContentType": "application/json",
        "channels": _channels(names),
        "operations": {
            "receivePurchase": _operation("receive", "purchases", names.processor_group),
            "receiveRedriven": _operation("receive", "redrive", names.processor_group),
            "sendAnalyticsEvent": _operation("send", "analytics"),
            "sendDeadLetter": _operation("send", "deadLetters"),
            "sendRedriven": _operation("send", "redrive"),
        },
        "components": {"messages": _messages(), "schemas": schemas},
    }


def _channels(names: Names) -> dict[str, Any]:
    described = {
        "purchases": (names.purchases, "Purchase", "What anyone may send."),
        "redrive": (names.redrive, "RedrivenPurchase", "Dead letters that are sent again."),
        "analytics": (names.analytics, "AnalyticsEvent", "Valid purchases; read committed."),
        "deadLetters": (names.dead_letters, "DeadLetter", "Refused records, with the reason."),
    }
    definitions = topic_definitions(names)
    return {
        channel: {
            "address": topic,
            "description": description,
            "messages": {message: {"$ref": f"#/components/messages/{message}"}},
            "bindings": {"kafka": _topic_binding(topic, *definitions[topic])},
        }
        for channel, (topic, message, description) in described.items()
    }


def _topic_binding(topic: str, partitions: int, options: Mapping[str, str]) -> dict[str, Any]:
    """Return how a missing topic is created, with the types that AsyncAPI wants of options."""
    configuration: dict[str, Any] = {
        name: int(value) if value.isdecimal() else value for name, value in options.items()
    }
    # AsyncAPI has a list of policies, and Kafka a text.
    configuration["cleanup.policy"] = options["cleanup.policy"].split(",")
    return BINDING | {
        "topic": topic,
        "partitions": partitions,
        "topicConfiguration": configuration,
    }


def _operation(action: str, channel: str, group: str | None = None) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
    }
    if group is not None:
        binding = BINDING | {"groupId": {"type": "string", "enum": [group]}}
        operation["bindings"] = {"kafka": binding}
    return operation


def _messages() -> dict[str, Any]:
    trace = {"traceparent": _describe(TEXT, "A W3C trace context, which goes along.")}
    schema_id = _describe(TEXT, "The id of a schema in the registry; then the value is of it.")
    refusal = {
        f"{DEAD_LETTER}reason": {"type": "string", "enum": _reasons()},
        f"{DEAD_LETTER}detail": TEXT,
        f"{DEAD_LETTER}version": {"type": "string", "enum": [VERSION.decode()]},
        **_origin(DEAD_LETTER),
    }
    cut = {
        f"{DEAD_LETTER}{mark}{part}": TEXT
        for part in ("", ".key", ".headers")
        for mark in ("truncated", "sha256")
    }
    purchase, event = (_payload(topic) for topic in CONTRACTS)
    return {
        "Purchase": _message("The user, or a guest's order.", trace | {VALUE_SCHEMA: schema_id})
        | purchase,
        "RedrivenPurchase": _message("As it came.", _origin(ORIGIN), list(_origin(ORIGIN)))
        | purchase,
        "AnalyticsEvent": _message("The user, a guest's order, or the key that came.", trace)
        | event,
        # Bytes of any form: it was refused for them.
        "DeadLetter": _message("As it came, if there was one.", refusal | cut, list(refusal))
        | {"contentType": "application/octet-stream"},
    }


def _message(
    key: str, headers: Mapping[str, object], required: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a message without its payload; other headers go along."""
    schema = {"type": "object", "properties": dict(headers)}
    if required:
        schema["required"] = list(required)
    return {"headers": schema, "bindings": {"kafka": BINDING | {"key": _describe(TEXT, key)}}}


def _payload(topic: str) -> dict[str, Any]:
    return {"payload": {"$ref": f"#/components/schemas/{NAMES[topic]}"}}


def _origin(prefix: str) -> dict[str, Any]:
    return {
        f"{prefix}{field}": TEXT if field in TEXTS_OF_ORIGIN else NUMBER
        for field in Origin.__struct_fields__
    }


def _reasons() -> list[str]:
    """Return the codes that the processor gives."""
    return [reason.value for reason in Reason if reason is not Reason.NOT_STORABLE]


def _describe(schema: Mapping[str, Any], description: str) -> dict[str, Any]:
    return {**schema, "description": description}
