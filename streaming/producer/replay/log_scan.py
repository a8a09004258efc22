"""Reading `purchases` itself, to know which rows of a replay arrived before a process died.

Nothing is committed and no group is joined. Of a record only its event id is read.
"""

import re
import time
from collections.abc import Iterator, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaException
from confluent_kafka import Message as KafkaMessage
from confluent_kafka import TopicPartition as PartitionOffset

from streaming.errors import PurchasesError, Unavailable
from streaming.kafka.client_errors import PASSING, ErrorWatch
from streaming.kafka.config import Config
from streaming.system.shutdown import StopRequest

# For the bounds of all partitions together.
REQUEST_SECONDS: Final = 5.0
# The last partition still gets a moment, and one that is not ready is not asked in a busy loop.
SHORTEST_SECONDS: Final = 0.1
# An election of a new leader ends well before.
SILENCE_SECONDS: Final = 30.0
# A stop is noticed between two such calls.
BATCH: Final = 5_000
BATCH_SECONDS: Final = 0.2

# A derived id is of version 8: one of another version is no row of a replay.
_EVENT_ID = re.compile(rb'"event_id":"([0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f-]{21})"').search


class LogScan:
    """A plain reader of one topic's partitions, for positions and for event ids.

    It reads uncommitted: a replay writes without transactions, and the open transaction of another
    producer must not hide its records.
    """

    def __init__(self, config: Config, topic: str, partitions: int) -> None:
        self._consumer = Consumer(
            {**config, "isolation.level": "read_uncommitted", "error_cb": ErrorWatch()}
        )
        self._topic = topic
        self._partitions = range(partitions)

    def close(self) -> None:
        """Leave the brokers; for `contextlib.closing`."""
        self._consumer.close()

    def ends(self) -> dict[int, int]:
        """Return the end offset of each partition. Raises `Unavailable` without an answer."""
        return {number: bounds[1] for number, bounds in self._bounds().items()}

    def event_ids(self, positions: Mapping[int, int], stop: StopRequest) -> Iterator[list[str]]:
        """Yield the derived event ids from `positions` to the present end, in batches.

        A partition that `positions` do not name is read from its beginning; records that retention
        removed are skipped. Ends early if `stop` is set. Raises `Unavailable` if the broker sends
        nothing for 30 s, `PurchasesError` if the topic may not be read.
        """
        ends: dict[int, int] = {}
        assigned = []
        for number, (low, high) in self._bounds().items():
            first = max(positions.get(number, 0), low)
            if first < high:
                ends[number] = high
                assigned.append(PartitionOffset(self._topic, number, first))
        self._consumer.assign(assigned)
        heard = time.monotonic()
        while ends and not stop.is_set():
            batch = self._consumer.consume(BATCH, BATCH_SECONDS)
            yield _ids(batch)
            if batch:
                heard = time.monotonic()
            elif time.monotonic() - heard > SILENCE_SECONDS:
                raise Unavailable(
                    f"{self._topic} cannot be read: the broker sends nothing; try again later."
                )
            # The position moves past transaction markers too, the last record's offset does not.
            for position in self._consumer.position(assigned):
                if position.offset >= ends.get(position.partition, 0):
                    ends.pop(position.partition, None)
        self._consumer.unassign()

    def _bounds(self) -> dict[int, tuple[int, int]]:
        until = time.monotonic() + REQUEST_SECONDS
        return {number: self._bounds_of(number, until) for number in self._partitions}

    def _bounds_of(self, partition: int, until: float) -> tuple[int, int]:
        """Return first and end offset; a partition just created may need a moment to answer."""
        asked = PartitionOffset(self._topic, partition)
        while True:
            left = max(until - time.monotonic(), SHORTEST_SECONDS)
            try:
                low, high = self._consumer.get_watermark_offsets(asked, timeout=left)
            except KafkaException as error:
                reason = error.args[0]
                if reason.code() not in PASSING or time.monotonic() >= until:
                    raise Unavailable(
                        f"The broker does not say where {self._topic} ends: {reason.str()}."
                    ) from None
                time.sleep(SHORTEST_SECONDS)
            else:
                return low, high


def _ids(batch: list[KafkaMessage]) -> list[str]:
    ids = []
    for message in batch:
        error = message.error()
        if error is None:
            match = _EVENT_ID(message.value() or b"")
            if match:
                ids.append(match[1].decode())
        elif error.code() not in PASSING:
            raise PurchasesError(f"{message.topic()} cannot be read: {error.str()}.")
    return ids
