"""A producer as others write it, to be killed: what it heard acknowledged it writes down.

Run as `python -m tests.faults.sender SERVERS TOPIC VALUES ACKNOWLEDGED SERVED`.
"""

import json
import os
import signal
import sys
from pathlib import Path

from confluent_kafka import KafkaError, Message, Producer


def main() -> None:
    """Send each line that is not acknowledged yet, and hear the answers of the first `SERVED`.

    Where that is fewer than all it waits for its end, in between sending and acknowledgement.
    """
    servers, topic, values, acknowledged, served = sys.argv[1:]
    path = Path(acknowledged)
    sent = set(path.read_bytes().splitlines()) if path.exists() else set()
    missing = [v for v in Path(values).read_bytes().splitlines() if v not in sent]
    notes = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(error: KafkaError | None, message: Message) -> None:
        if error is None:
            os.write(notes, (message.value() or b"") + b"\n")

    producer = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random"})
    for number, value in enumerate(missing):
        producer.produce(topic, value, json.loads(value)["user"], on_delivery=note)
        if number < int(served):
            producer.poll(0.001)
    if int(served) < len(missing):
        signal.pause()
    producer.flush(60)


if __name__ == "__main__":
    main()
