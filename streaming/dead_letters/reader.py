"""Reading `purchases.dlq`: one dead letter by its position, or all attempts of an origin.

Which dead letters there are, the store knows; what they are shown as is in `render`.
"""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Final, NamedTuple

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient

from streaming.errors import Unavailable
from streaming.events.dead_letter import DeadLetterHeaders, read_dead_letter_headers
from streaming.events.framing import unframe
from streaming.events.identifiers import topic_id_text
from streaming.events.record import Record, TopicPartition
from streaming.events.refusal import Refusal
from streaming.kafka.config import common_config, consumer_config
from streaming.kafka.names import Names
from streaming.kafka.offsets import list_bounds
from streaming.kafka.records import read_record
from streaming.kafka.registry.schemas import schema_cache
from streaming.kafka.retry import answer
from streaming.runtime.limits import CALL_SECONDS
from streaming.settings import Settings
from streaming.store.dead_letters import StoredDeadLetter

CLIENT: Final = "dead-letters"
# An election of a new leader ends before; a broker that is silent for longer is away.
READ_SECONDS: Final = 15.0
# Reading over a few records costs less than a seek, which discards what was fetched.
READ_ON: Final = 1_000
# Records that one call hands over; each may have 16 MiB.
BATCH: Final = 500
# Records bear the time of the broker that appended them, and the refusal that of another.
CLOCKS_APART_MILLISECONDS: Final = 60_000


class DeadLetterRecord(NamedTuple):
    """A record of `purchases.dlq`, and what its headers say."""

    record: Record
    headers: DeadLetterHeaders


class DeadLetterReader:
    """Reads without a group; what is asked for in the topic's order is read without seeks.

    `schemas` are those by which framed values are read; None without a schema registry.
    """

    def __init__(self, settings: Settings, servers: str) -> None:
        self.schemas = schema_cache(settings)
        self._topic = topic = Names.of(settings).dead_letters
        config = consumer_config(settings, servers, CLIENT, CLIENT)
        self._consumer = Consumer({**config, "queued.max.messages.kbytes": 32_768})
        listed = answer(lambda seconds: self._consumer.list_topics(topic, timeout=seconds))
        described = listed.topics[topic]
        partitions = [(topic, partition) for partition in described.partitions]
        admin = AdminClient(common_config(settings, servers, CLIENT))
        # Rows name committed dead letters only: none of them is behind the last stable offset.
        self._bounds = list_bounds(admin, partitions, stable=True, timeout=CALL_SECONDS)
        self._read: deque[Record] = deque()
        self._at: tuple[TopicPartition, int] | None = None

    def close(self) -> None:
        """Leave the brokers; for `contextlib.closing`."""
        self._consumer.close()

    def find(self, dead_letter: StoredDeadLetter) -> DeadLetterRecord | None:
        """Return the record of the last attempt; None if the topic no longer holds it.

        Raises `Unavailable` if the brokers stop answering.
        """
        if dead_letter.dlq_partition is None or dead_letter.dlq_offset is None:
            return None
        partition, offset = (self._topic, dead_letter.dlq_partition), dead_letter.dlq_offset
        first, end = self._bounds.get(partition, (0, 0))
        if not first <= offset < end:
            return None
        self._go_to(partition, offset)
        while (record := self._next(partition)) is not None:
            if record.offset >= offset:
                return read_attempt(record, dead_letter) if record.offset == offset else None
        return None

    def read_unframed(self, record: Record) -> Record:
        """Return a record with its value as JSON, if it is framed and its schema is known.

        Raises `Unavailable` if the schema registry does not answer.
        """
        if self.schemas is None:
            return record
        self.schemas.learn([record])
        unframed = unframe(record, self.schemas.readers)
        return record if isinstance(unframed, Refusal) else unframed

    def read_json(self, last: DeadLetterRecord | None) -> bytes | None:
        """Return the JSON of a framed value; None if it has none that can be read now."""
        if last is None:
            return None
        # What is kept is shown also while the registry is away.
        with suppress(Unavailable):
            plain = self.read_unframed(last.record)
            return None if plain is last.record else plain.value
        return None

    def attempts(self, dead_letter: StoredDeadLetter) -> list[DeadLetterRecord]:
        """Return the records of all attempts that the topic still holds, in order.

        They may be in any partition, between the times of the record and of its last refusal.
        Raises `Unavailable` if the brokers stop answering.
        """
        if dead_letter.dlq_partition is None or dead_letter.refused_at is None:
            return []
        refused_at = dead_letter.refused_at // 1000
        since = min(dead_letter.timestamp, refused_at) - CLOCKS_APART_MILLISECONDS
        until = refused_at + CLOCKS_APART_MILLISECONDS
        attempts = [
            attempt
            for partition in self._bounds
            for record in self._read_between(partition, since, until)
            if (attempt := read_attempt(record, dead_letter)) is not None
        ]
        return sorted(attempts, key=lambda attempt: attempt.headers.origin.attempt)

    def _read_between(self, partition: TopicPartition, since: int, until: int) -> Iterator[Record]:
        """Yield what was appended to a partition between two times (ms)."""
        start, end = self._offset_at(partition, since), self._offset_at(partition, until)
        if start >= end:
            return
        self._go_to(partition, start)
        while (record := self._next(partition)) is not None and record.offset < end:
            yield record

    def _offset_at(self, partition: TopicPartition, milliseconds: int) -> int:
        """Return the first offset at or after a time, or the partition's end.

        Raises `Unavailable` if the brokers do not answer.
        """
        first, end = self._bounds[partition]
        asked = [PartitionOffset(*partition, max(milliseconds, 0))]
        times = answer(lambda seconds: self._consumer.offsets_for_times(asked, timeout=seconds))
        offset = times[0].offset
        return max(offset, first) if offset >= 0 else end

    def _go_to(self, partition: TopicPartition, offset: int) -> None:
        """Move to `offset`: by reading on if it is near, else by a seek."""
        if (
            self._at is not None
            and self._at[0] == partition
            and 0 <= offset - self._at[1] <= READ_ON
        ):
            return
        self._read.clear()
        self._consumer.assign([PartitionOffset(*partition, offset)])
        # Else the leader of a topic that is new to this client is only looked for once a second.
        answer(lambda seconds: self._consumer.list_topics(self._topic, timeout=seconds))
        self._at = (partition, offset)

    def _next(self, partition: TopicPartition) -> Record | None:
        """Return the next record of the partition; None at its end."""
        deadline = time.monotonic() + READ_SECONDS
        while not self._read:
            end = self._bounds[partition][1]
            # Markers and aborted records move the position without a record: an empty poll says
            # nothing.
            position = self._consumer.position([PartitionOffset(*partition)])[0].offset
            if position >= end:
                return None
            if time.monotonic() > deadline:
                raise Unavailable(
                    f"{partition[0]}-{partition[1]} sends nothing from offset {position} on; try"
                    " again when the broker runs."
                )
            messages = self._consumer.consume(BATCH, 0.05)
            self._read.extend(read_record(m) for m in messages if m.error() is None)
        record = self._read.popleft()
        self._at = (partition, record.offset + 1)
        return record


def read_attempt(record: Record, dead_letter: StoredDeadLetter) -> DeadLetterRecord | None:
    """Read a record of `purchases.dlq`; None if it is not of this origin."""
    headers = read_dead_letter_headers(record.headers)
    if not isinstance(headers, DeadLetterHeaders):
        return None
    origin = headers.origin
    named = (topic_id_text(origin.topic_id), origin.partition, origin.offset)
    same = named == (dead_letter.topic_id, dead_letter.partition, dead_letter.offset)
    return DeadLetterRecord(record, headers) if same else None
