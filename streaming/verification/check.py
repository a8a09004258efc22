"""The result of one comparison: how many things were compared, how many differ, and the first.

What is compared is in the modules named `…_checks`; nothing is compared here.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

EXAMPLES: Final = 5
"""Enough to find the cause; more would hide the other checks' lines in a terminal."""


class Check(Struct):
    """One comparison. `examples` are sentences about the first differences, at most five."""

    name: str
    compared: int = 0
    differing: int = 0
    examples: list[str] = []

    def differ(self, sentence: str) -> None:
        """Count a difference, and keep its sentence if it is one of the first."""
        self.differing += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(sentence)

    def add(self, other: "Check") -> None:
        """Take in what another process compared of the same."""
        self.compared += other.compared
        self.differing += other.differing
        self.examples = [*self.examples, *other.examples][:EXAMPLES]


def sum_checks(name: str, parts: Iterable[Check]) -> Check:
    """Return what several processes compared of the same."""
    check = Check(name)
    for part in parts:
        check.add(part)
    return check
