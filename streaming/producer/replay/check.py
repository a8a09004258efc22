"""`replay --check`: what a file would become, and nothing of it is sent.

It needs no broker. The rows are made in `rows` and judged in `verdicts`, as they are for a replay.
"""

import time
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

import msgspec
from msgspec import Struct

from streaming.kafka.purchase_rules import purchase_rules
from streaming.producer.replay.checkpoint import Checkpoint
from streaming.producer.replay.plan import ReplayRequest, shift_of
from streaming.producer.replay.recording import Recording
from streaming.producer.replay.rows import PresentIds, rows
from streaming.producer.replay.run import read_request
from streaming.producer.replay.stored_rows import find_checkpoints, stored_rows
from streaming.producer.replay.verdicts import Verdicts
from streaming.settings import Settings
from streaming.store.connection import store_exists
from streaming.units import decimal_text

SHOWN_ROWS: Final = 3
"""Enough to see whether each column was taken for the right field."""


class ReplayCheck(Struct, frozen=True, kw_only=True):
    """What the rows of a file would become.

    `columns` are by field, `first_purchases` the first rows as they would be sent, `unpaid` the
    number of rows that are left out by status, `refused` the number of rows by reason, each with
    one of them in `examples`. Days are in `timezone`, `shifted` says that they are not the file's.
    `quantity` and `net_revenue` are sums over what is valid.
    `stored` is how many rows the database of this home has (None: there is none); `begun_at` and
    `sent_at` are when this very file was first sent from here, and when all of it was.
    """

    file: str
    rows: int
    columns: Mapping[str, str]
    unused_columns: Sequence[str]
    first_purchases: Sequence[Mapping[str, Any]]
    unpaid: Mapping[str, int]
    refused: Mapping[str, int]
    examples: Mapping[str, str]
    first_day: date | None
    last_day: date | None
    timezone: str
    shifted: bool
    quantity: int
    net_revenue: str
    without_price: int
    guests: int
    currency: str
    stored: int | None
    begun_at: str | None
    sent_at: str | None


@dataclass
class _Sums:
    """What the rows come to."""

    verdicts: Verdicts
    first: list[Mapping[str, Any]] = field(default_factory=list)
    quantity: int = 0
    micros: int = 0
    without_price: int = 0
    guests: int = 0
    stored: int = 0


def check_replay(settings: Settings, request: ReplayRequest) -> ReplayCheck:
    """Read a file as `replay` would, and say what its rows would become.

    Raises `UsageError` for a file or an option that is wrong.
    """
    recording = read_request(settings, request)
    begun = find_checkpoints(settings.home, recording.digest)
    shift, by_row_number = _identity(begun, request, recording)
    sums = _Sums(Verdicts(purchase_rules(settings), time.time_ns() // 1_000_000))
    with stored_rows(settings, recording, shift) as stored:
        _add_rows(sums, recording, shift, stored, by_row_number=by_row_number)
    days = recording.days(shift) or (None, None)
    return ReplayCheck(
        file=str(request.path),
        rows=recording.frame.height,
        columns=recording.columns,
        unused_columns=recording.unused,
        first_purchases=sums.first,
        unpaid=recording.unpaid(),
        refused=dict(sums.verdicts.refused.most_common()),
        examples=sums.verdicts.examples,
        first_day=days[0],
        last_day=days[1],
        timezone=settings.timezone,
        shifted=shift != 0,
        quantity=sums.quantity,
        net_revenue=decimal_text(sums.micros),
        without_price=sums.without_price,
        guests=sums.guests,
        currency=settings.currency,
        stored=sums.stored if store_exists(settings) else None,
        begun_at=min((one.begun_at for one in begun), default=None),
        sent_at=max((one.finished_at for one in begun if one.finished_at), default=None),
    )


def _identity(
    begun: Sequence[Checkpoint], request: ReplayRequest, recording: Recording
) -> tuple[int, bool]:
    """Return the shift that a replay would have, and whether its ids are by row number."""
    if begun and request.as_recorded is None and not request.restart:
        return begun[0].shift_micros, begun[0].id_columns is None
    shift = shift_of(request, recording, datetime.now(UTC))
    same = [one for one in begun if one.shift_micros == shift]
    return shift, bool(same) and same[0].id_columns is None


def _add_rows(
    sums: _Sums, recording: Recording, shift: int, stored: PresentIds, *, by_row_number: bool
) -> None:
    def count_stored(ids: Sequence[str], contents: Sequence[bytes]) -> Container[str]:
        here = stored(ids, contents)
        sums.stored += sum(event_id in here for event_id in ids)
        # Each row is judged, also one that would not be sent again.
        return frozenset()

    for row in rows(recording, shift, present_ids=count_stored, by_row_number=by_row_number):
        if row.value is None:
            continue
        if len(sums.first) < SHOWN_ROWS:
            purchase = msgspec.json.decode(row.value)
            sums.first.append({n: v for n, v in purchase.items() if n != "event_id"})
        event = sums.verdicts.judge(row)
        if event is not None:
            sums.quantity += event.quantity
            sums.micros += event.amount_micros or 0
            sums.without_price += event.unit_price_micros is None
            sums.guests += event.user is None
