"""The counters of a worker: rates, positions, recent refusals and prices, unknown fields.

Pure: the clock is an argument. `worker` writes them, `status` reads them.
"""

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct

from streaming.events.record import TopicPartition

ReadPositions = Mapping[TopicPartition, tuple[int, int]]

RATE_SECONDS: Final = 10.0
"""Long enough to smooth batches, and short enough that a person sees a change."""
WINDOW_SECONDS: Final = 300.0
"""A burst of refusals stays in sight for as long as somebody takes to look."""
WINDOW_RECORDS: Final = 1_000
"""In a quiet shop five minutes hold few records, and a share of few means nothing."""
BUCKET_SECONDS: Final = 5.0
"""Shorter than the window by so much that it moves smoothly, and still only 60 buckets."""
KEYS_KEPT: Final = 20
"""In each bucket, more than are shown: a key may be frequent in sum and in no bucket the first."""
KEYS_SHOWN: Final = 3
"""In the status: a sender whose purchases are refused is mostly among the first."""
KEY_BYTES: Final = 128
"""A key may be as long as a record, and all that are kept are in the status file."""
SUSTAINED_SECONDS: Final = 600.0
"""A replay at full speed, which is no rate of the shop, is mostly over by then."""
SUSTAINED_SPACING: Final = 10.0
"""One sample in so many seconds is kept: 60 in all, instead of one a turn of the loop."""
UNKNOWN_FIELDS_KEPT: Final = 50
"""They are labels of a metric, and names come from anyone."""
OTHER_FIELDS: Final = "other"
"""Stands for all unknown fields that are not among the most frequent."""


class Rates(Struct, frozen=True):
    """Rates per second, over the last ten seconds; `closing` is by how much the lag shrinks."""

    records: float = 0.0
    stored: float = 0.0
    refused: float = 0.0
    duplicates: float = 0.0
    closing: float = 0.0


class SchemaLookups(Struct, rename={"readable": "found"}):
    """How many schema ids were looked up: found and readable, or refused; or not asked for."""

    readable: int = 0
    refused: int = 0
    unasked: int = 0


class RecentRecords(Struct, frozen=True):
    """What the longer of the last 5 minutes and the last 1,000 records held.

    `without_price` counts accepted purchases. `keys` counts the most frequent keys of refused
    records. They are personal data: for the operator's eyes, never for a log.
    """

    records: int = 0
    refused: int = 0
    without_price: int = 0
    reasons: dict[str, int] = {}
    keys: dict[str, int] = {}


class WorkerPosition(Struct, frozen=True):
    """A worker's position in a partition assigned to it, and the end offset it last saw."""

    topic: str
    partition: int
    position: int
    end: int


@dataclass(frozen=True)
class CounterSample:
    """The counters at a moment (monotonic s)."""

    at: float
    records: int
    stored: int
    refused: int
    duplicates: int
    lag_records: int


class RateWindow:
    """Rates from samples of the counters, taken about once a second."""

    def __init__(self) -> None:
        self._samples: deque[CounterSample] = deque()

    def add(self, sample: CounterSample) -> Rates:
        """Add the newest sample; return the rates since the oldest one within `RATE_SECONDS`."""
        samples = self._samples
        samples.append(sample)
        # One sample from before the window stays, so that the rates span all of it.
        while len(samples) > 2 and sample.at - samples[1].at >= RATE_SECONDS:
            samples.popleft()
        first = samples[0]
        seconds = sample.at - first.at
        if seconds <= 0:
            return Rates()
        return Rates(
            records=round((sample.records - first.records) / seconds, 1),
            stored=round((sample.stored - first.stored) / seconds, 1),
            refused=round((sample.refused - first.refused) / seconds, 1),
            duplicates=round((sample.duplicates - first.duplicates) / seconds, 1),
            closing=round((first.lag_records - sample.lag_records) / seconds, 1),
        )


class SustainedRate:
    """Stored records per second over ten minutes, for what is projected over days."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, at: float, stored: int) -> float | None:
        """Return the rate up to `at` (monotonic s); None while fewer than ten minutes are known."""
        samples = self._samples
        if not samples or at - samples[-1][0] >= SUSTAINED_SPACING:
            samples.append((at, stored))
        while len(samples) > 1 and at - samples[1][0] >= SUSTAINED_SECONDS:
            samples.popleft()
        began, first = samples[0]
        seconds = at - began
        return round((stored - first) / seconds, 1) if seconds >= SUSTAINED_SECONDS else None


@dataclass
class Bucket:
    """The records of `BUCKET_SECONDS`."""

    started: float
    records: int = 0
    refused: int = 0
    without_price: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    keys: Counter[bytes] = field(default_factory=Counter)


class RecentWindow:
    """Counts what records held over the longer of a time and a number of records.

    Its size is bounded: of each five seconds it keeps the most frequent keys, and of a key the
    first 128 bytes.
    """

    def __init__(self) -> None:
        self._buckets: deque[Bucket] = deque()

    def add(self, now: float, records: int, refused: Iterable[tuple[str, bytes | None]]) -> None:
        """Count a batch of `records`; `refused` has the reason and key of each refused one."""
        buckets = self._buckets
        if not buckets or now - buckets[-1].started >= BUCKET_SECONDS:
            buckets.append(Bucket(now))
        newest = buckets[-1]
        newest.records += records
        for reason, key in refused:
            newest.refused += 1
            newest.reasons[reason] += 1
            if key is not None:
                newest.keys[key[:KEY_BYTES]] += 1
        if len(newest.keys) > KEYS_KEPT:
            # After each batch: a sender with a key of its own for each record must not fill the
            # memory.
            newest.keys = Counter(dict(newest.keys.most_common(KEYS_KEPT)))

    def add_without_price(self, purchases: int) -> None:
        """Count purchases without a price among the records that were added last."""
        self._buckets[-1].without_price += purchases

    def count_recent(self, now: float) -> RecentRecords:
        """Return what the window holds at `now` (monotonic s), most frequent first."""
        self._forget(now)
        reasons: Counter[str] = Counter()
        keys: Counter[bytes] = Counter()
        for bucket in self._buckets:
            reasons.update(bucket.reasons)
            keys.update(bucket.keys)
        return RecentRecords(
            records=sum(bucket.records for bucket in self._buckets),
            refused=sum(bucket.refused for bucket in self._buckets),
            without_price=sum(bucket.without_price for bucket in self._buckets),
            reasons=dict(reasons.most_common()),
            keys={k.decode(errors="replace"): n for k, n in keys.most_common(KEYS_SHOWN)},
        )

    def _forget(self, now: float) -> None:
        """Drop buckets that are too old, as long as enough records stay."""
        records = sum(bucket.records for bucket in self._buckets)
        while self._buckets and now - self._buckets[0].started > WINDOW_SECONDS:
            records -= self._buckets[0].records
            if records < WINDOW_RECORDS:
                return
            self._buckets.popleft()


def sum_unknown_fields(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return how often each name came, most frequent first: at most 50 names, and `other`."""
    total: Counter[str] = Counter()
    for names in counts:
        total.update(names)
    other = total.pop(OTHER_FIELDS, 0)
    kept = dict(total.most_common(UNKNOWN_FIELDS_KEPT))
    other += total.total() - sum(kept.values())
    return {**kept, OTHER_FIELDS: other} if other else kept


def list_positions(bounds: ReadPositions) -> list[WorkerPosition]:
    """Return positions and end offsets as records, in the order of topic and partition."""
    # The end is of the last fetch, and the position may be past it by now.
    return [
        WorkerPosition(*partition, at, max(at, end))
        for partition, (at, end) in sorted(bounds.items())
    ]


def is_caught_up(bounds: ReadPositions) -> bool:
    """Return whether every end offset is known (not negative) and reached."""
    return all(0 <= end <= position for position, end in bounds.values())


def total_lag(bounds: ReadPositions) -> int:
    """Return the number of records between positions and end offsets."""
    return sum(max(end - position, 0) for position, end in bounds.values())
