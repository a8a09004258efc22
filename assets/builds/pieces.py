"""Pieces of days: which days of a run are written together.

Pure. How a piece is built is in `builder`.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

from assets.builds.event_reader import NO_FIGURES, StreamFigures
from assets.tables.models import WHOLE

PIECE_EVENTS: Final = 15_000
"""Events of a piece: so many that commits cost little, and so few that the consumer waits 0.1 to
0.2 s for the transaction."""
PIECE_DAYS: Final = 30
"""Days of a piece: a kill of the run costs the work of so many, and Dagster's events of them."""


def group_days(days: Sequence[str], ledger: Mapping[date, StreamFigures]) -> list[list[str]]:
    """Cut days, in their order, into pieces of neighbours with at most `PIECE_EVENTS` together.

    A larger day is a piece by itself. What is no day is one too.
    """
    pieces: list[list[str]] = []
    events, before = 0, None
    for text in days:
        day = _parse(text)
        of_day = ledger.get(day, NO_FIGURES).events if day else 0
        events += of_day
        # A piece is read from its first to its last day: with a gap, the days between would be read
        # too.
        is_neighbour = day and before and abs(day - before) == timedelta(1)
        if is_neighbour and events <= PIECE_EVENTS and len(pieces[-1]) < PIECE_DAYS:
            pieces[-1].append(text)
        else:
            pieces.append([text])
            events = of_day
        before = day
    return pieces


def _parse(partition: str) -> date | None:
    return None if partition == WHOLE else date.fromisoformat(partition)
