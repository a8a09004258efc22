"""What the processor is measured against, as programs with the processor's own settings.

`python -m benchmarks.contenders raw|one_by_one` works until SIGTERM: `raw` copies bytes and decodes
nothing; `one_by_one` validates as one would by hand, with `json`, `datetime` and `decimal`.
"""

import json
import signal
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Event
from typing import Any, Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from streaming.kafka.config import consumer_config, transactional_config
from streaming.kafka.consume_loop import LINGER_SECONDS
from streaming.kafka.names import Names
from streaming.processor.app import BATCH_RECORDS
from streaming.runtime.limits import CALL_SECONDS
from streaming.settings import load_settings

LIMIT: Final = Decimal(10**9)
MICROS: Final = 1_000_000
DAY: Final = timedelta(days=1)
Output = tuple[bytes | None, bytes | None, str | None]


def copy_message(message: Message) -> Output:
    """Return key and value as they came."""
    return message.key(), message.value(), None


def validate_message(message: Message) -> Output:
    """Return the enriched event, or the value as it came and why it is refused."""
    try:
        purchase = json.loads(message.value() or b"")
        appended_at = datetime.fromtimestamp(message.timestamp()[1] / 1000, UTC)
        event = enrich_purchase(purchase, appended_at)
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        return message.key(), message.value(), str(error)
    event["source_topic"] = message.topic()
    event["source_partition"] = message.partition()
    event["source_offset"] = message.offset()
    event["source_timestamp"] = message.timestamp()[1]
    key = event.get("user") or event.get("order_id")
    return key.encode() if key else message.key(), json.dumps(event).encode(), None


def enrich_purchase(purchase: dict[str, Any], appended_at: datetime) -> dict[str, Any]:
    """Check each field of a purchase and give the event that is published.

    Raises `ValueError` and its kin for what is refused.
    """
    require(purchase["user"] is None or is_name(purchase["user"]), "user")
    require(is_name(purchase["item"]), "item")
    time = datetime.fromisoformat(purchase["timestamp"]).astimezone(UTC)
    require(datetime(2010, 1, 1, tzinfo=UTC) <= time <= appended_at + DAY, "timestamp")
    quantity = purchase.get("quantity", 1)
    require(type(quantity) is int and 0 < abs(quantity) <= MICROS, "quantity")
    require(purchase.get("currency", "GBP") == "GBP", "currency")
    event = {
        "event_id": str(uuid.UUID(purchase["event_id"])),
        "event_time": time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "kind": "sale" if quantity > 0 else "return",
        "user": purchase["user"],
        "item": purchase["item"],
        "quantity": quantity,
        "currency": "GBP",
        "processed_at": datetime.now(UTC).isoformat(timespec="microseconds"),
        "schema_version": 1,
    }
    if purchase.get("unit_price") is not None:
        price = Decimal(purchase["unit_price"])
        require(0 <= price <= LIMIT and abs(price * quantity) <= LIMIT, "unit_price")
        event["unit_price_micros"] = int(price * MICROS)
        event["amount_micros"] = event["unit_price_micros"] * quantity
    for field in ("order_id", "description", "country"):
        text = purchase.get(field)
        if text is not None:
            require(isinstance(text, str) and len(text) <= 1024 and "\0" not in text, field)
            event[field] = text
    return event


def is_name(text: object) -> bool:
    """Return whether a text can be a user or an item."""
    return isinstance(text, str) and 0 < len(text) <= 128 and "\0" not in text


def require(holds: bool, field: str) -> None:  # noqa: FBT001 - a condition
    """Refuse a purchase because of a field."""
    if not holds:
        raise ValueError(field)


def work(name: str, transform: Callable[[Message], Output], stop: Event) -> None:
    """Consume, transform and produce in transactions of the processor's size, until `stop`."""
    settings = load_settings()
    names, group, servers = Names.of(settings), f"bench-{name}", str(settings.bootstrap_servers)
    producer = Producer(transactional_config(settings, servers, name, group))
    producer.init_transactions(30)
    starting = {"auto.offset.reset": "earliest"}
    consumer = Consumer(consumer_config(settings, servers, name, group, name) | starting)
    consumer.subscribe([names.purchases])
    while not stop.is_set():
        first = consumer.poll(0.1)
        if first is None:
            continue
        messages = [first, *consumer.consume(BATCH_RECORDS - 1, LINGER_SECONDS)]
        producer.begin_transaction()
        for message in messages:
            key, value, refused = transform(message)
            topic = names.analytics if refused is None else names.dead_letters
            while True:
                try:
                    producer.produce(topic, value, key)
                    break
                except BufferError:
                    producer.poll(0.1)
        positions: list[TopicPartition] = consumer.position(consumer.assignment())
        read = [position for position in positions if position.offset >= 0]
        producer.send_offsets_to_transaction(read, consumer.consumer_group_metadata(), CALL_SECONDS)
        producer.commit_transaction(CALL_SECONDS)
    consumer.close()


def main() -> None:
    """Be the contender that the argument names."""
    stop = Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    work(sys.argv[1], {"raw": copy_message, "one_by_one": validate_message}[sys.argv[1]], stop)


if __name__ == "__main__":
    main()
