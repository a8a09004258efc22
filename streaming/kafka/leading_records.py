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
LOOK_BYTES: Final = 16 * 1024
"""Between two looks at the clock, which cost more than a record's bytes. So many bytes take at most
about 20 ms, of any record."""
RECORD_BYTES: Final = 16
"""What a record counts beside its bytes, and each header too: so do those without any."""


class LeadingRecords:
    """The leading records of a batch, until a second or 8 MiB (keys, values, headers) are over.

    The clock runs from the beginning of the iteration, so the records are handled while it goes on.
    It is looked at after each 16 KiB, so the first record is always among them. `count` is their
    number, once the iteration has ended.
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
        # This runs for every record: 0.07 µs of about 6.
        end, left = time.monotonic() + self._seconds, self._maximum_bytes
        count = unseen = 0
        for record in self._records:
            yield record
            count += 1
            if record.headers or record.value is None or record.key is None:
                unseen += _size_in_bytes(record)
            else:
                unseen += len(record.value) + len(record.key) + RECORD_BYTES
            if unseen >= LOOK_BYTES:
                left -= unseen
                unseen = 0
                if left <= 0 or time.monotonic() >= end:
                    break
        self.count = count


def _size_in_bytes(record: Record) -> int:
    names = sum(map(len, [name for name, _ in record.headers]))
    values = sum(map(len, [value for _, value in record.headers if value]))
    headers = RECORD_BYTES * len(record.headers) + names + values
    return RECORD_BYTES + len(record.value or b"") + len(record.key or b"") + headers
