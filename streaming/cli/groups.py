"""The list of commands in the help: by groups, each with one short line.

What a command does is in its own module.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

import typer
from typer.core import TyperGroup

SOURCES: Final = "Sources"
STREAM: Final = "Stream"
FIGURES: Final = "Figures"
UPKEEP: Final = "Upkeep"


LINE: Final = 60
"""Characters of a line of the list; a test keeps all of them shorter, so that none is cut."""


Commands = Mapping[str, tuple[str, Callable[..., None] | typer.Typer]]
"""By name, the line of a command and the command, or the commands below it."""


def add_commands(app: typer.Typer, group: str, commands: Commands) -> None:
    """Add commands to the group of that name."""
    for name, (line, command) in commands.items():
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, short_help=line, rich_help_panel=group)
        else:
            app.command(name, short_help=line, rich_help_panel=group)(command)


class CommandGroups(TyperGroup):
    """A group that lists its commands under the names that they were registered with."""

    # Typer carries a click of its own, and does not export its types.
    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the commands of each group, in the order of their registration."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for name in self.list_commands(ctx):
            command: Any = self.get_command(ctx, name)
            title = command.rich_help_panel or "Commands"
            groups.setdefault(title, []).append((name, command.get_short_help_str(LINE)))
        for title, lines in groups.items():
            with formatter.section(title):
                formatter.write_dl(lines)
