"""The console on which tables, bars and live views are drawn.

It is apart from `output`, because rich takes a while to import.
"""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from streaming.formatting import printable_lines


class PrintableConsole(Console):
    """A console that escapes in all text what does not print; its own colours and moves stay."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Return the segments of what is drawn, each in printable characters."""
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable_lines(text), style, control)
