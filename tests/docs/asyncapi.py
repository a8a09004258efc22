"""Prints docs/asyncapi.json from the code: `python -m tests.docs.asyncapi`."""

import sys

import msgspec

from streaming.kafka.asyncapi import asyncapi_document
from streaming.kafka.names import Names


def document() -> str:
    """Return the text of docs/asyncapi.json: of a deployment without a namespace."""
    content = msgspec.json.encode(asyncapi_document(Names()))
    return msgspec.json.format(content, indent=2).decode() + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
