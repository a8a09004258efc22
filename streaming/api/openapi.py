"""The OpenAPI document of the API, made from its endpoints and their records; pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from streaming.api.endpoint import PREFIX, PROBLEM, Endpoint, Problem

REF: Final = "#/components/schemas/{name}"
PROBLEMS: Final = {
    "400": "What was asked for is wrong.",
    "401": "A token is asked for.",
    "403": "Another site may not ask for this.",
    "404": "What was named is not there.",
    "413": "It is too much at once.",
    "421": "The host name is not ours.",
    "429": "Too many such requests at once; come again.",
    "500": "It failed; the detail says what to do.",
    "503": "Broker or database do not answer now; come again.",
}


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Give the OpenAPI 3.1 document as what JSON is made of."""
    records = [Problem, *(e.gives for e in endpoints), *(e.asked for e in endpoints)]
    schemas, components = msgspec.json.schema_components(records, ref_template=REF)
    gives = schemas[1 : 1 + len(endpoints)]
    asked = schemas[1 + len(endpoints) :]
    problem = {PROBLEM: {"schema": schemas[0]}}
    problems = {code: {"description": text, "content": problem} for code, text in PROBLEMS.items()}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint, given, wanted in zip(endpoints, gives, asked, strict=True):
        operation = _operation(endpoint, given, wanted, components)
        operation["responses"] |= problems
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {"title": "purchases", "version": version("purchases")},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(
    endpoint: Endpoint,
    gives: Mapping[str, Any],
    asked: Mapping[str, Any],
    components: Mapping[str, Any],
) -> dict[str, Any]:
    given = {kind: {"schema": gives} for kind in endpoint.media_types}
    answers: dict[str, Any] = {"200": {"description": "The answer.", "content": given}}
    operation: dict[str, Any] = {"summary": endpoint.summary, "responses": answers}
    if endpoint.method == "GET":
        answers["304"] = {"description": "It is what the reader has, by its ETag."}
        operation["parameters"] = list(_parameters(endpoint, asked, components))
    else:
        body = {kind: {"schema": asked} for kind in endpoint.takes}
        operation["requestBody"] = {"content": body}
    return operation


def _parameters(
    endpoint: Endpoint, asked: Mapping[str, Any], components: Mapping[str, Any]
) -> Iterable[dict[str, Any]]:
    record = components[str(asked["$ref"]).rpartition("/")[2]]
    in_path = set(re.findall(r"{(\w+)", endpoint.path))
    for name, schema in record["properties"].items():
        yield {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in in_path or name in record.get("required", ()),
            "schema": schema,
        }
