"""From messages of `analytics` and `purchases.dlq` to what they add to the store.

Nothing is fetched and nothing stored here; that is the consumer's (`analytics`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import cast

from confluent_kafka import Message
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.errors import Mismatch
from streaming.events.dead_letter import DeadLetterHeaders, escaped_text, read_dead_letter_headers
from streaming.events.record import TopicPartition
from streaming.events.refusal import RefusalError
from streaming.kafka.consumer import headers_of
from streaming.store.rows import DeadLetterUpdate, EventRow, event_row, redriven, refusal_update
from streaming.store.writer import Advance
from streaming.system.logs import RateLimitedLogger


def event_rows(messages: Iterable[Message], analytics: str, currency: str) -> Iterator[EventRow]:
    """Read the events among the messages, those of the topic `analytics`, one by one.

    Raises `Mismatch` naming the record that this version cannot store.
    """
    for message in messages:
        if message.topic() == analytics:
            partition, offset = message.partition() or 0, message.offset() or 0
            try:
                yield event_row(message.value(), currency, partition, offset)
            except Mismatch as error:
                raise _cannot_be_stored(message, error) from None


def letter_rows(
    messages: Iterable[Message], analytics: str, log: RateLimitedLogger
) -> list[DeadLetterUpdate]:
    """Read dead letters, and which of the events were redriven, as their headers say.

    Others' records among the dead letters are passed over, and told to the log.
    Raises `Mismatch` naming the event whose `origin.*` headers are unreadable.
    """
    letters: list[DeadLetterUpdate] = []
    for message in messages:
        if message.topic() != analytics:
            letters += _letter(message, log)
        elif headers := headers_of(message):
            try:
                letters += redriven(headers)
            except RefusalError as error:
                raise _cannot_be_stored(message, error) from None
    return letters


def _cannot_be_stored(message: Message, error: Exception) -> Mismatch:
    return Mismatch(
        f"The record at {message.topic()}-{message.partition()}, offset {message.offset()}, cannot"
        f" be stored: {error}. Is a newer version of purchases, or another deployment, writing to"
        " this topic?"
    )


def advances(
    messages: Sequence[Message],
    positions: Mapping[TopicPartition, PartitionOffset],
    expected: Mapping[TopicPartition, int | None],
) -> dict[TopicPartition, Advance]:
    """Give how far the messages' partitions were read from what is `expected` to be stored.

    `positions` are past the transaction markers behind the last message, which may be of a later
    leader epoch than it: an offset is only ever given with its own.
    """
    topics, partitions = map(Message.topic, messages), map(Message.partition, messages)
    places = cast("list[TopicPartition]", list(zip(topics, partitions, strict=True)))
    counts = Counter(places)
    return {
        place: Advance(expected[place], *_behind(last, positions.get(place)), counts[place])
        for place, last in dict(zip(places, messages, strict=True)).items()
    }


def _behind(last: Message, position: PartitionOffset | None) -> tuple[int, int | None]:
    """Give the next offset and its leader epoch: behind the last message, or further."""
    offset = (last.offset() or 0) + 1
    if position is not None and position.offset > offset:
        return position.offset, position.leader_epoch
    return offset, last.leader_epoch()


def _letter(message: Message, log: RateLimitedLogger) -> list[DeadLetterUpdate]:
    partition, offset = message.partition() or 0, message.offset() or 0
    verdict = read_dead_letter_headers(headers_of(message))
    if not isinstance(verdict, DeadLetterHeaders):
        log.warning("foreign_dead_letter", partition=partition, offset=offset)
        return []
    refused_at = message.timestamp()[1] * 1000
    return [refusal_update(verdict, escaped_text(message.key()), refused_at, partition, offset)]
