"""Generated purchases as messages: where seed, event times, ids and broken ones meet.

What is bought is made up in `generate`; sending is in `produce`.
"""

import hashlib
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, tzinfo

from streaming import units
from streaming.events.identifiers import derived_id, record_key
from streaming.producer.generator.corruption import bad_before, spoiled
from streaming.producer.generator.orders import Line, lines
from streaming.producer.generator.timing import dated
from streaming.producer.record import ProducerRecord, RawPurchase, encode_purchase


@dataclass(frozen=True)
class ProduceRequest:
    """What to generate. `rate` in events/s (None: as fast as it goes), `count` None: for ever.

    `start` is the event time of the first (None: now, in real time); `bad_share` is 0 to 1.
    """

    rate: float | None = 10.0
    count: int | None = None
    seed: int | None = None
    start: datetime | None = None
    bad_share: float = 0.0


def timed(request: ProduceRequest, zone: tzinfo) -> Iterator[tuple[int, ProducerRecord]]:
    """Give event time (µs) and message one after another, without end.

    With seed and start a pure function of both; without start the time is when it is asked for.
    """
    seed = request.seed
    if seed is None:
        seed = int.from_bytes(os.urandom(8), "big")
    if request.start is None:
        identity = os.urandom(32)
        source: Iterator[tuple[int, Line]] = ((now_micros(), line) for line in lines(seed))
    else:
        fixed = request.seed is not None
        text = f"produce {seed} {units.micros_of(request.start)}"
        identity = hashlib.sha256(text.encode()).digest() if fixed else os.urandom(32)
        source = dated(lines(seed), seed, request.start, zone)
    for number, (micros, line) in enumerate(source):
        sent = as_sent(
            line, micros, derived_id(micros // 1000, identity + struct.pack(">q", number))
        )
        turn = bad_before(number, request.bad_share)
        bad = turn < bad_before(number + 1, request.bad_share)
        value = spoiled(sent, turn) if bad else encode_purchase(sent)
        yield micros, ProducerRecord(record_key(line.user, line.order_id), value)


def as_sent(line: Line, micros: int, event_id: str) -> RawPurchase:
    """Give a line of an order its time (µs) and its id."""
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
    """Give the time, in µs since 1970 UTC."""
    return time.time_ns() // 1000
