"""Dead letters in the store: found by a filter, and marked by a person.

Only the states `redriven` and `dropped` are written here. `stored`, `open` and `parked` follow from
the records, and the consumer writes them in `writer`. The values are in `purchases.dlq` alone.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from msgspec import Struct

from streaming.errors import NotFound, UsageError
from streaming.store.connection import StoreConnection

QUARTER: Final = 900 * 1_000_000
"""µs of the longest stretch of time that no zone's midnight cuts."""
DIGITS: Final = 18
"""So many fit 64 bits; no partition or offset has more."""
STATES: Final = ("open", "redriven", "stored", "parked", "dropped")
COLUMNS: Final = (
    "origin_topic_id, origin_partition, origin_offset, origin_topic, origin_timestamp, reason,"
    " detail, key, refused_at, attempts, dlq_partition, dlq_offset, state, dropped_because"
)


class StoredDeadLetter(Struct, frozen=True):
    """One refused origin; `timestamp` in epoch ms, `refused_at` in µs.

    The fields that only the dead letter has are None until it has been read too.
    """

    topic_id: str
    partition: int
    offset: int
    topic: str
    timestamp: int
    reason: str | None
    detail: str | None
    key: str | None
    refused_at: int | None
    attempts: int
    dlq_partition: int | None
    dlq_offset: int | None
    state: str
    dropped_because: str | None

    @property
    def id(self) -> str:
        """The name on the command line: topic id, partition and offset of the origin."""
        return f"{self.topic_id}:{self.partition}:{self.offset}"


class DeadLetterFilter(Struct, frozen=True):
    """The dead letters for which each given condition holds. Times in µs, `until` excluded.

    `states` is never empty; `ids` are as `StoredDeadLetter.id`.
    """

    states: tuple[str, ...]
    reason: str | None = None
    since: int | None = None
    until: int | None = None
    key: str | None = None
    ids: frozenset[str] | None = None


def find_dead_letters(
    connection: StoreConnection, criteria: DeadLetterFilter, *, newest_first: bool = False
) -> Iterator[StoredDeadLetter]:
    """Yield the dead letters that fit, in the order of the dead-letter topic or newest first."""
    condition, values = _condition(criteria)
    # By name, because databases differ in where a missing value stands.
    order = (
        "refused_at DESC NULLS LAST, dlq_offset DESC NULLS LAST"
        if newest_first
        else "dlq_partition NULLS FIRST, dlq_offset NULLS FIRST"
    )
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM dead_letter WHERE {condition} ORDER BY {order}",  # noqa: S608
        values,
    )
    for row in rows:
        dead_letter = StoredDeadLetter(*row)
        # In Python, because an id is three columns, and there may be hundreds of ids.
        if criteria.ids is None or dead_letter.id in criteria.ids:
            yield dead_letter


def find_dead_letter(connection: StoreConnection, name: str) -> StoredDeadLetter:
    """Return the dead letter of this id, or of `partition:offset` if only one has it.

    Raises `NotFound` if none has it, `UsageError` if several have it.
    """
    # Padded in front: `partition:offset` has an empty topic id, which fits any.
    topic_id, partition, offset = ["", "", *name.rsplit(":", 2)][-3:]
    if not all(number.isascii() and number.isdecimal() for number in (partition, offset)):
        raise UsageError(f"{name!r} is no id of a dead letter; `purchases dlq list` shows them.")
    # PostgreSQL refuses a number that is too large for its column.
    if len(partition) > DIGITS or len(offset) > DIGITS:
        raise NotFound(f"There is no dead letter {name}; `purchases dlq list` shows them.")
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM dead_letter WHERE origin_partition = ? AND origin_offset = ?"  # noqa: S608
        " AND coalesce(?, origin_topic_id) = origin_topic_id",
        (int(partition), int(offset), topic_id or None),
    ).fetchall()
    if not rows:
        raise NotFound(f"There is no dead letter {name}; `purchases dlq list` shows them.")
    if len(rows) > 1:
        names = ", ".join(StoredDeadLetter(*row).id for row in rows)
        raise UsageError(f"{name} may be {names}: give one of these.")
    return StoredDeadLetter(*rows[0])


def count_by_reason(connection: StoreConnection, criteria: DeadLetterFilter) -> dict[str, int]:
    """Count the dead letters that fit by reason, most frequent first."""
    condition, values = _condition(criteria)
    rows = connection.execute(
        f"SELECT coalesce(reason, ''), count(*) FROM dead_letter WHERE {condition}"  # noqa: S608
        " GROUP BY 1 ORDER BY 2 DESC, 1",
        values,
    )
    return dict(rows.fetchall())


def count_by_day(
    connection: StoreConnection, criteria: DeadLetterFilter, zone: ZoneInfo
) -> list[tuple[str, str, int]]:
    """Count the dead letters that fit by local day (as `2011-03-27`) and reason, in that order."""
    condition, values = _condition(criteria)
    rows = connection.execute(
        # SQLite has no time zones: it counts quarters of an hour, and Python gives them to days.
        f"SELECT refused_at / {QUARTER}, coalesce(reason, ''), count(*) FROM dead_letter"  # noqa: S608
        f" WHERE {condition} AND refused_at IS NOT NULL GROUP BY 1, 2",
        values,
    )
    counts: Counter[tuple[str, str]] = Counter()
    for quarter, reason, count in rows:
        day = datetime.fromtimestamp(quarter * QUARTER / 1_000_000, zone).date()
        counts[day.isoformat(), reason] += count
    return [(day, reason, count) for (day, reason), count in sorted(counts.items())]


def mark_redriven(connection: StoreConnection, dead_letters: Iterable[StoredDeadLetter]) -> int:
    """Mark the dead letters as sent again and return how many.

    One that was stored or refused again meanwhile is left: more is known of it by now.
    """
    return _mark(connection, dead_letters, "redriven", None)


def mark_dropped(
    connection: StoreConnection, dead_letters: Iterable[StoredDeadLetter], because: str
) -> int:
    """Mark the dead letters as given up and return how many.

    One that was stored or refused again meanwhile is left, as by `mark_redriven`.
    """
    return _mark(connection, dead_letters, "dropped", because)


def _mark(
    connection: StoreConnection,
    dead_letters: Iterable[StoredDeadLetter],
    state: str,
    because: str | None,
) -> int:
    return connection.executemany(
        "UPDATE dead_letter SET state = ?, dropped_because = ? WHERE origin_topic_id = ? AND"
        # `attempts` tells whether it was refused again since the caller read it.
        " origin_partition = ? AND origin_offset = ? AND attempts = ? AND state <> 'stored'",
        [(state, because, x.topic_id, x.partition, x.offset, x.attempts) for x in dead_letters],
    ).rowcount


def _condition(criteria: DeadLetterFilter) -> tuple[str, Sequence[object]]:
    marks = ", ".join("?" * len(criteria.states))
    given: list[tuple[str, object]] = [
        ("reason = ?", criteria.reason),
        ("refused_at >= ?", criteria.since),
        ("refused_at < ?", criteria.until),
        ("key = ?", criteria.key),
    ]
    conditions = [(text, value) for text, value in given if value is not None]
    text = " AND ".join([f"state IN ({marks})", *(text for text, _ in conditions)])
    return text, [*criteria.states, *(value for _, value in conditions)]
