"""Generated purchases as records: their event times, ids and corruption, by a seed.

What is bought is decided in `orders`, and when in `timing`; sending is in `run`.
"""

import hashlib
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo
from itertools import count

from streaming import units
from streaming.events.identifiers import derived_id, record_key
from streaming.producer.generator.corruption import corrupted_value, count_corrupted
from streaming.producer.generator.orders import Line, generate_lines
from streaming.producer.generator.timing import add_times
from streaming.producer.record import ProducerRecord, RawPurchase, encode_purchase


@dataclass(frozen=True)
class ProduceRequest:
    """What to generate. `rate` in events/s (None: as fast as it goes), `count` None: until stopped.

    `start` is the event time of the first (None: now, in real time). `since` is that of the first
    too, but the others follow at the rate: up to now as fast as it goes, and then in real time.
    `bad_share` is 0 to 1.
    """

    rate: float | None = 10.0
    count: int | None = None
    seed: int | None = None
    start: datetime | None = None
    since: datetime | None = None
    bad_share: float = 0.0


def generate_records(request: ProduceRequest, zone: tzinfo) -> Iterator[tuple[int, ProducerRecord]]:
    """Yield event time (µs) and record, without end.

    With seed and start a pure function of both; without start the time is that of the call.
    """
    seed = request.seed
    if seed is None:
        seed = int.from_bytes(os.urandom(8), "big")
    if request.start is None:
        identity = os.urandom(32)
        source: Iterator[tuple[int, Line]] = zip(
            _times_until_now(request), generate_lines(seed), strict=False
        )
    else:
        fixed = request.seed is not None
        text = f"produce {seed} {units.micros_of(request.start)}"
        identity = hashlib.sha256(text.encode()).digest() if fixed else os.urandom(32)
        source = add_times(generate_lines(seed), seed, request.start, zone)
    for number, (micros, line) in enumerate(source):
        # With seed and start the ids are the same each time: a run that is repeated stores nothing
        # twice.
        event_id = derived_id(micros // 1000, identity + struct.pack(">q", number))
        purchase = raw_purchase(line, micros, event_id)
        # By difference, so that errors come evenly and their number is the share of any count.
        turn = count_corrupted(number, request.bad_share)
        corrupt = turn < count_corrupted(number + 1, request.bad_share)
        value = corrupted_value(purchase, turn) if corrupt else encode_purchase(purchase)
        yield micros, ProducerRecord(record_key(line.user, line.order_id), value)


def _times_until_now(request: ProduceRequest) -> Iterator[int]:
    """Yield event times (µs): from `since` on at the rate, and never later than now."""
    if request.since is None or request.rate is None:
        while True:
            yield now_micros()
    begun, gap = units.micros_of(request.since), units.MICROS / request.rate
    for number in count():
        yield min(begun + int(number * gap), now_micros())


def raw_purchase(line: Line, micros: int, event_id: str) -> RawPurchase:
    """Return a line of an order with its time (µs) and its id."""
    time_of = units.EPOCH + micros * units.MICROSECOND
    return RawPurchase(
        user=line.user,
        item=line.item,
        timestamp=units.rfc_3339(time_of),
        event_id=event_id,
        quantity=line.quantity,
        unit_price=line.unit_price,
        order_id=line.order_id,
        description=line.description,
        country=line.country,
    )


def now_micros() -> int:
    """Return the present time, in µs since 1970 UTC."""
    return time.time_ns() // 1000
