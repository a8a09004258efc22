"""What a verification that agreed leaves to the next one, so that it need not begin from the start.

The rows that were compared are held to a digest of each chunk of them, so that no change of them
passes. What was stored, published or sent since is compared record by record. Anything else that
cannot be what it was makes a verification from the start.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b, sha256
from typing import Final

import msgspec
from confluent_kafka import Message
from msgspec import Struct

from streaming.events.identifiers import topic_id_text
from streaming.events.record import DEAD_LETTER, Headers, TopicPartition
from streaming.kafka.names import Names
from streaming.kafka.preflight import Cluster
from streaming.store.archive import is_archive_shown
from streaming.store.connection import StoreConnection
from streaming.store.table_dialect import dialect_of
from streaming.verification.database_checks import Figures, Held
from streaming.verification.dead_letter_checks import OriginId
from streaming.verification.positions import TopicPositions
from streaming.verification.records import PublishedEvent, readable_origin
from streaming.verification.topic_reader import Range

FORM: Final = 2
"""The form of a checkpoint; one of another form is of another version of this program."""
CHUNK_ROWS: Final = 50_000
"""Rows of a digest: a kilobyte of the checkpoint for each million and a half events."""
STEP_ROWS: Final = 500
"""Rows of which the database makes one content. It stays below 128 KiB, from where on the system
maps, zeroes and takes back its memory each time."""
DIGEST_BYTES: Final = 16
"""Chance makes no two contents equal, and nobody gains by making them so."""
# What nothing compares with the topics (description, country and others) is left out.
COLUMNS: Final = {
    "event_id": bytes,
    "event_time": int,
    "user": str,
    "order_id": str,
    "item": str,
    "quantity": int,
    "amount_micros": int,
    "source_topic": int,
    "source_partition": int,
    "source_offset": int,
    "source_timestamp": int,
    "stream_partition": int,
    "stream_offset": int,
}
ROWS: Final = "FROM analytics_event WHERE rowid > ? AND rowid <= ?"


class Checkpoint(Struct, frozen=True, kw_only=True):
    """What agreed, up to the row number `row` and to these offsets.

    `figures` is the digest of totals, items and days, `held` what `counted_partitions` returns.
    `positions` are the offsets up to which each partition was compared, `ends` those up to which
    outputs were read, `counted` what `TopicPositions.count_read` returns. `stored` are the origins
    of the dead letters whose event was found, `not_storable` is the digest of the positions on
    `analytics` whose records could not be stored. `since` is the append time (RFC 3339) of the
    oldest purchase that was followed.
    """

    form: int
    cluster_id: str
    topic_ids: dict[str, str]
    timezone: str
    erasures: list[str]
    row: int
    chunks: list[str]
    figures: str
    held: Held
    positions: dict[str, dict[int, int]]
    ends: dict[str, dict[int, int]]
    counted: dict[int, tuple[int, int]]
    stored: dict[str, dict[int, list[int]]]
    not_storable: str
    since: str | None

    @property
    def row_of_logs(self) -> int:
        """The last row up to which none is of a log that was given up; 0 if there may be one."""
        return 0 if min(self.held, default=0) < 0 else self.row


class KeptCheckpoint(Struct, frozen=True):
    """A checkpoint, with the end (µs) of the verification that left it."""

    checkpoint: Checkpoint
    verified_at: int


def read_checkpoint(connection: StoreConnection) -> KeptCheckpoint | None:
    """Return what the last verification left; None if it left nothing that this version reads."""
    row = connection.execute(
        "SELECT checkpoint, finished_at FROM verification WHERE checkpoint IS NOT NULL"
        " ORDER BY id DESC"
    ).fetchone()
    if row is None:
        return None
    try:
        checkpoint = msgspec.json.decode(row[0], type=Checkpoint)
    except msgspec.DecodeError:
        return None
    return KeptCheckpoint(checkpoint, row[1]) if checkpoint.form == FORM else None


class StartOver(Exception):
    """Something is not as it was when the checkpoint was left, or cannot be told."""


def require_same_logs(
    checkpoint: Checkpoint, positions: TopicPositions, cluster: Cluster, names: Names
) -> None:
    """Raise `StartOver` unless the logs are the same, went forward, and lost nothing unread."""
    if (checkpoint.cluster_id, checkpoint.topic_ids) != (cluster.cluster_id, topic_ids_of(cluster)):
        raise StartOver
    for (topic, number), offset in compared_ends(positions).items():
        if offset < checkpoint.positions.get(topic, {}).get(number, 0):
            raise StartOver
    for (topic, number), (first, end) in positions.bounds.items():
        if end < checkpoint.ends.get(topic, {}).get(number, 0):
            raise StartOver
        is_output = topic in {names.analytics, names.dead_letters}
        if is_output and first > checkpoint.positions.get(topic, {}).get(number, 0):
            raise StartOver


def topic_ids_of(cluster: Cluster) -> dict[str, str]:
    """Return the id of each topic by its name."""
    return {name: topic_id_text(topic.topic_id) for name, topic in cluster.topics.items()}


def erasures_of(connection: StoreConnection) -> list[str]:
    """Return the ids of the erasures."""
    return [row[0] for row in connection.execute("SELECT id FROM erasure ORDER BY id")]


def compared_ends(positions: TopicPositions) -> dict[TopicPartition, int]:
    """Return up to which offset each partition is compared."""
    stored = {partition: position.next_offset for partition, position in positions.stored.items()}
    return stored | {partition: end for partition, (_, end) in positions.processed_ranges().items()}


def since_checkpoint(checkpoint: Checkpoint, partition: TopicPartition, bounds: Range) -> Range:
    """Return what of a range the checkpoint does not have."""
    topic, number = partition
    first, end = bounds
    return min(max(first, checkpoint.positions.get(topic, {}).get(number, 0)), end), end


def stored_origins(checkpoint: Checkpoint) -> set[OriginId]:
    """Return the origins of the dead letters whose event was found."""
    return {
        (topic_id, number, offset)
        for topic_id, partitions in checkpoint.stored.items()
        for number, offsets in partitions.items()
        for offset in offsets
    }


def require_first_event(checkpoint: Checkpoint, message: Message, event: PublishedEvent) -> None:
    """Raise `StartOver` if a purchase that had its output is on `analytics` once more."""
    source = (event.source_topic, event.source_partition)
    _require_first(checkpoint, message, source, event.source_offset)


def is_new_dead_letter(
    checkpoint: Checkpoint, topics: Mapping[bytes, str], message: Message, headers: Headers
) -> bool:
    """Return whether a dead letter was not compared yet; `topics` are the names by their ids.

    Raises `StartOver` if it is of a purchase that had its output.
    """
    origin = readable_origin(headers, DEAD_LETTER)
    # A higher attempt names the first origin, which has its output.
    if origin is not None and origin.attempt == 1:
        source = (topics.get(origin.topic_id, ""), origin.partition)
        _require_first(checkpoint, message, source, origin.offset)
    topic, number = message.topic() or "", message.partition() or 0
    return (message.offset() or 0) >= checkpoint.positions.get(topic, {}).get(number, 0)


def _require_first(
    checkpoint: Checkpoint, message: Message, source: TopicPartition, offset: int
) -> None:
    """Raise `StartOver` for an output behind what was read, of a purchase that was judged."""
    if offset >= checkpoint.positions.get(source[0], {}).get(source[1], 0):
        return
    topic, number = message.topic() or "", message.partition() or 0
    if (message.offset() or 0) >= checkpoint.ends.get(topic, {}).get(number, 0):
        raise StartOver


def last_row(connection: StoreConnection) -> int:
    """Return the number of the last row; 0 if there is none."""
    return int(
        connection.execute("SELECT coalesce(max(rowid), 0) FROM analytics_event").fetchone()[0]
    )


def chunk_digests(
    connection: StoreConnection,
    chunks: Iterable[int],
    row: int,
    on_chunk: Callable[[], None] = lambda: None,
) -> list[str]:
    """Return the digest of each of these chunks, as far as they have rows up to `row`.

    `on_chunk` is called after each.
    """
    digests = []
    for number in chunks:
        last = min((number + 1) * CHUNK_ROWS, row)
        digests.append(_digest(connection, number * CHUNK_ROWS, last))
        on_chunk()
    return digests


def chunk_numbers(row: int) -> range:
    """Return the numbers of the chunks that the rows up to `row` are in."""
    return range(-(-row // CHUNK_ROWS))


def not_storable_digest(connection: StoreConnection, topic_id: str, ends: Mapping[int, int]) -> str:
    """Return the digest of what cannot be stored: positions on `analytics` before these ends."""
    rows = connection.execute(
        "SELECT origin_partition, origin_offset FROM dead_letter"
        " WHERE origin_topic_id = ? AND reason = 'not_storable' ORDER BY 1, 2",
        (topic_id,),
    )
    positions = [(number, offset) for number, offset in rows if offset < ends.get(number, 0)]
    return blake2b(msgspec.json.encode(positions), digest_size=DIGEST_BYTES).hexdigest()


def figures_digest(*tables: Mapping[str, Figures]) -> str:
    """Return the digest of figures by name; a missing one is the same as one of zeros."""
    content = [
        sorted((name, sums) for name, sums in figures.items() if any(sums)) for figures in tables
    ]
    return blake2b(msgspec.json.encode(content), digest_size=DIGEST_BYTES).hexdigest()


def subtract(stored: Mapping[str, Figures], added: Mapping[str, Figures]) -> dict[str, Figures]:
    """Return the stored figures without what was added to them."""
    rest = dict(stored)
    for name, sums in added.items():
        before = rest.get(name, (0,) * len(sums))
        rest[name] = tuple(b - a for b, a in zip(before, sums, strict=True))
    return rest


def add_counts(held: Held, added: Held) -> Held:
    """Return the counts of both, and the last offset of either."""
    both = dict(held)
    for partition, (events, last) in added.items():
        before, offset = both.get(partition, (0, -1))
        both[partition] = (before + events, max(offset, last))
    return both


def _digest(connection: StoreConnection, after: int, last: int) -> str:
    is_view = is_archive_shown(connection)
    statement = dialect_of(connection).content_of_rows(COLUMNS, ROWS, "rowid", is_view=is_view)
    # Most processors have instructions for it, and take half the time of BLAKE2b.
    digest = sha256()
    for start in range(after, last, STEP_ROWS):
        step = (start, min(start + STEP_ROWS, last))
        (content,) = connection.execute(statement, step).fetchone()
        # NULL if no row has such a number: what a server rolls back leaves a gap.
        digest.update(content or b"")
    return digest.hexdigest()[: 2 * DIGEST_BYTES]
