"""The options by which `dlq` selects dead letters, and the filter that they mean.

What fits a filter is decided in `store.dead_letters`; how values are repaired in
`dead_letters.repair`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streaming.cli.times import read_time
from streaming.errors import UsageError

if TYPE_CHECKING:
    from streaming.settings import Settings
    from streaming.store.dead_letters import DeadLetterFilter

NOT_STORED: Final = ("open", "redriven", "parked", "dropped")
UNDECIDED: Final = ("open", "parked")

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these.")]
Reason = Annotated[str | None, typer.Option(help="Only those refused for this code.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Refused at or after it.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Refused before it.")]
Key = Annotated[str | None, typer.Option(help="Only those with this key.")]
State = Annotated[
    list[str] | None,
    typer.Option(help="open, redriven, stored, parked or dropped; may be repeated."),
]


@dataclass(frozen=True)
class Selection:
    """The options as they were typed; each that is given must hold."""

    reason: str | None
    since: str | None
    until: str | None
    key: str | None
    states: Sequence[str]

    def dead_letter_filter(
        self, settings: "Settings", ids: frozenset[str] | None = None
    ) -> "DeadLetterFilter":
        """Return the filter, of whole `ids` if they are given.

        Raises `UsageError` naming the option that is wrong.
        """
        from streaming.events.refusal import Reason as Code
        from streaming.store.dead_letters import STATES, DeadLetterFilter

        for state in self.states:
            if state not in STATES:
                raise UsageError(f"--state {state} must be one of {', '.join(STATES)}.")
        if self.reason is not None and self.reason not in set(Code):
            raise UsageError(f"--reason {self.reason} must be one of {', '.join(Code)}.")
        return DeadLetterFilter(
            states=tuple(self.states),
            reason=self.reason,
            since=_micros("--since", self.since, settings),
            until=_micros("--until", self.until, settings),
            key=self.key,
            ids=ids,
        )

    def refuse_stored(self, remedy: str) -> None:
        """Raise `UsageError` with the remedy if dead letters that are stored are selected."""
        if "stored" in self.states:
            raise UsageError(f"--state stored: the purchase is stored already; {remedy}.")


def read_whole_ids(settings: "Settings", names: Sequence[str]) -> dict[str, str]:
    """Return the whole id of each name. Raises `UsageError` for one that is unknown."""
    if not names:
        return {}
    from streaming.store.connection import read_store
    from streaming.store.dead_letters import find_dead_letter

    with read_store(settings) as store:
        return {name: find_dead_letter(store, name).id for name in names}


def _micros(option: str, text: str | None, settings: "Settings") -> int | None:
    from streaming.units import micros_of

    time = read_time(option, text, settings)
    return None if time is None else micros_of(time)
