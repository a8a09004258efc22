"""Prints docs/cli.md from the command line itself: `python -m tests.docs.cli_reference`."""

import sys
from collections.abc import Iterator
from typing import Any

import typer
from typer.main import get_command

from orchestration.cli.main import app

INTRODUCTION = """# Commands

Printed from the program by `python -m tests.docs.cli_reference`. [Exit codes](exit-codes.md) has
what they exit with. `--debug`, anywhere on the line, shows the traceback of an error. `python -m
streaming` has the stream's commands only, without `up`, `down`, `open`, `backfill`, `export`, `env`
and `reset`.
"""


Command = Any
"""Typer carries a click of its own and does not export its types."""


def commands() -> Iterator[tuple[str, Command]]:
    """Return every command with its whole name, in the order of the help."""
    yield from _below("purchases", get_command(app))


def reference() -> str:
    """Return the text of docs/cli.md."""
    parts = [INTRODUCTION]
    for name, command in commands():
        context = typer.Context(command, info_name=name, terminal_width=90)
        parts.append(f"## {name}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


def _below(name: str, command: Command) -> Iterator[tuple[str, Command]]:
    subcommands = getattr(command, "commands", None)
    if subcommands is None:
        yield name, command
        return
    for part, below in subcommands.items():
        yield from _below(f"{name} {part}", below)


if __name__ == "__main__":
    sys.stdout.write(reference())
