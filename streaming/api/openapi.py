"""The OpenAPI document of the API, made from its endpoints and their records; pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any, Final

import msgspec

from streaming.api.endpoint import JSON, PREFIX, PROBLEM, Endpoint, ProblemDetails

SCHEMA_REFERENCE: Final = "#/components/schemas/{name}"
PROBLEM_DESCRIPTIONS: Final = {
    "400": "A parameter or the body is not valid.",
    "401": "A token is missing.",
    "403": "Another site may not do this.",
    "404": "There is no such thing.",
    "413": "The request is too large.",
    "415": "The body is compressed.",
    "421": "The host name is not one of this server.",
    "429": "Too many such requests at once; try again.",
    "500": "It failed; the detail says what to do.",
    "503": "Broker or database do not answer now; try again.",
}


def openapi_document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the OpenAPI 3.1 document, ready to be encoded as JSON."""
    records = [ProblemDetails, *(e.result for e in endpoints), *(e.parameters for e in endpoints)]
    # All records in one call, so that what they share is described once.
    schemas, components = msgspec.json.schema_components(records, ref_template=SCHEMA_REFERENCE)
    results = schemas[1 : 1 + len(endpoints)]
    parameters = schemas[1 + len(endpoints) :]
    problem = {PROBLEM: {"schema": schemas[0]}}
    problems = {
        status: {"description": text, "content": problem}
        for status, text in PROBLEM_DESCRIPTIONS.items()
    }
    paths: dict[str, dict[str, Any]] = {}
    for endpoint, result, parameter in zip(endpoints, results, parameters, strict=True):
        operation = _operation(endpoint, result, parameter, components)
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
        # The empty one stands for loopback, where a token is optional.
        "security": [{}, {"token": []}],
    }


def _operation(
    endpoint: Endpoint,
    result: Mapping[str, Any],
    parameters: Mapping[str, Any],
    components: Mapping[str, Any],
) -> dict[str, Any]:
    # The record describes the JSON; a file of it has no schema.
    content = {kind: {"schema": result} if kind == JSON else {} for kind in endpoint.media_types}
    responses: dict[str, Any] = {"200": {"description": "The answer.", "content": content}}
    operation: dict[str, Any] = {"summary": endpoint.summary, "responses": responses}
    if endpoint.method == "GET":
        responses["304"] = {"description": "The client has it already, by its ETag."}
        operation["parameters"] = list(_parameters(endpoint, parameters, components))
    else:
        body = {media_type: {"schema": parameters} for media_type in endpoint.body_types}
        operation["requestBody"] = {"content": body}
    return operation


def _parameters(
    endpoint: Endpoint, parameters: Mapping[str, Any], components: Mapping[str, Any]
) -> Iterable[dict[str, Any]]:
    record = components[str(parameters["$ref"]).rpartition("/")[2]]
    # OpenAPI requires each name in the path to be a parameter, and no other to be one of the path.
    in_path = set(re.findall(r"{(\w+)", endpoint.path))
    for name, schema in record["properties"].items():
        yield {
            "name": name,
            "in": "path" if name in in_path else "query",
            "required": name in in_path or name in record.get("required", ()),
            "schema": schema,
        }
