"""What commands print: the one place where text of others is made harmless to a terminal.

Items, users, orders, keys and headers come from anyone who may write to `purchases`. A renderer
still escapes each of them by itself, because only it knows which line end is its own. What is said
is the command's, and logs are in `system.logs`.
"""

from typing import Annotated

import typer

from streaming.formatting import printable_json, printable_lines

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")]


def print_text(text: str, *, err: bool = False) -> None:
    """Print lines, in which all that does not print is escaped, on stdout or stderr."""
    typer.echo(printable_lines(text), err=err)


def print_json(value: object) -> None:
    """Print a value as one JSON document on one line, in printable characters."""
    # Imported here, because most commands print no JSON.
    import msgspec

    typer.echo(printable_json(msgspec.json.encode(value).decode()))
