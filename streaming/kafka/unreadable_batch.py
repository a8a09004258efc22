"""A batch of records that the client cannot unpack: where it begins, and where the log goes on.

It ends every reader that comes to it, so a person moves the position past it. A topic that is made
as `topics` says holds none, because the broker unpacks what it is sent and refuses such a batch.
"""

from collections.abc import Callable
from contextlib import closing
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.events.record import TopicPartition
from streaming.kafka.config import Config
from streaming.runtime.limits import CALL_SECONDS
from streaming.system.deadline import Deadline

UNREADABLE: Final = KafkaError._BAD_COMPRESSION
READER: Final[Config] = {
    "enable.partition.eof": True,
    "auto.offset.reset": "error",
    # By default half a second after each error, and most questions here end in one.
    "fetch.error.backoff.ms": 1,
    "fetch.wait.max.ms": 10,
}


def unreadable_message(config: Config, message: Message, app: str) -> str:
    """Return what to say of a message whose error is `UNREADABLE`, met by `app`.

    It asks the broker where the log goes on, for 5 s at most.
    """
    topic, number, first = message.topic() or "", message.partition() or 0, message.offset() or 0
    error = message.error()
    says = "" if error is None else error.str()
    after = offset_after_batch(config, (topic, number), first)
    behind = "an offset behind it" if after is None else f"{after}"
    records = "" if after is None else f", {after - first} records,"
    return (
        f"The batch of {topic}-{number} that begins at {first}{records} cannot be unpacked: {says}."
        f" Go on behind it with `purchases offsets reset {app} --topic {topic} --partition"
        f" {number} --to {behind} --yes`; `purchases topics create --alter` has the broker refuse"
        " such batches."
    )


def offset_after_batch(config: Config, partition: TopicPartition, first: int) -> int | None:
    """Return the first offset behind the unreadable batch that begins at `first`.

    None if the broker does not answer within 5 s. `config` is that of a consumer.
    """
    deadline = Deadline.after(CALL_SECONDS)
    # Without the worker's static id: whoever joins its group under that fences the worker.
    apart = {k: v for k, v in config.items() if k != "group.instance.id"}
    with closing(Consumer({**apart, **READER})) as consumer:
        try:
            _, end = consumer.get_watermark_offsets(
                PartitionOffset(*partition), timeout=deadline.left(least=0.1)
            )
            return _first_outside(
                first, end, lambda offset: _is_inside(consumer, partition, offset, first, deadline)
            )
        except (TimeoutError, KafkaException):
            return None


def _first_outside(first: int, end: int, is_inside: Callable[[int], bool]) -> int:
    """Return the first offset above `first`, up to `end`, that is not inside."""
    inside, step = first, 1
    # The client does not say how long a batch is. A question from inside takes a quarter of a
    # second of unpacking in vain, one from outside nearly nothing: so far ahead, then by halves.
    while (outside := min(inside + step, end)) < end and is_inside(outside):
        inside, step = outside, 8 * step
    while outside - inside > 1:
        middle = (inside + outside) // 2
        if is_inside(middle):
            inside = middle
        else:
            outside = middle
    return outside


def _is_inside(
    consumer: Consumer, partition: TopicPartition, offset: int, first: int, deadline: Deadline
) -> bool:
    """Return whether the record at `offset` is of the unreadable batch that begins at `first`."""
    consumer.assign([PartitionOffset(*partition, offset)])
    while not deadline.is_over():
        message = consumer.poll(deadline.left(least=0.1))
        error = None if message is None else message.error()
        if message is not None and (error is None or error.code() == KafkaError._PARTITION_EOF):
            return False
        if message is not None and error is not None and error.code() == UNREADABLE:
            # The client names the beginning of the batch, whichever of its records is asked for.
            return message.offset() == first
    raise TimeoutError
