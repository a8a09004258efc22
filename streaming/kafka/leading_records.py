"""How many of a fetched batch's records one transaction takes: as many as are handled in time.

What is left is put back into the consumer (`GroupConsumer.put_back`) by the app.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Final

from streaming.events.record import Record

BATCH_SECONDS: Final = 1.0
"""The usual 5,000 records take a tenth of it. Shorter by far than the watchdog and than Kafka's
transaction timeout: whatever makes records slow, the transaction around them is committed."""
BATCH_BYTES: Final = 8 * 1024 * 1024
"""As much as the client fetches ahead. A broker takes it well within the timeout of a call."""


class LeadingRecords:
    """The leading records of a batch, until a second or 8 MiB (keys, values, headers) are over.

    The clock runs from the beginning of the iteration, so the records are handled while it goes on.
    The first record is always among them. `count` is their number, once it has ended.
    """

    def __init__(
        self,
        records: Sequence[Record],
        seconds: float = BATCH_SECONDS,
        maximum_bytes: int = BATCH_BYTES,
    ) -> None:
        self.count = 0
        self._records = records
        self._seconds = seconds
        self._maximum_bytes = maximum_bytes

    def __iter__(self) -> Iterator[Record]:
        """Yield the records one by one."""
        # This runs for every record: 0.1 µs of about 6.
        monotonic, end, left = time.monotonic, time.monotonic() + self._seconds, self._maximum_bytes
        count = 0
        for record in self._records:
            yield record
            count += 1
            left -= len(record.value or b"") + len(record.key or b"")
            if record.headers:
                left -= sum(len(name) + len(content or b"") for name, content in record.headers)
            if left <= 0 or monotonic() >= end:
                break
        self.count = count
