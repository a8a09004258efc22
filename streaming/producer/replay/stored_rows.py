"""Which rows of a replay need not be sent, because this home's database has them already.

A row sent again is stored once: its id is the same. That is not so of what an earlier release sent,
whose ids hang on the file; such rows are recognised by what they say.
"""

from collections import Counter
from collections.abc import Container, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError
from streaming.events.purchase import PurchaseEvent, Rules, read_purchase
from streaming.events.record import Record
from streaming.kafka.purchase_rules import purchase_rules
from streaming.producer.replay.checkpoint import Checkpoint, read_checkpoint
from streaming.producer.replay.recording import Recording
from streaming.producer.replay.rows import PresentIds, find_none
from streaming.producer.replay.verdicts import NO_TOPIC_ID
from streaming.settings import Settings
from streaming.store.archive import show_archived
from streaming.store.column_store import open_column_store
from streaming.store.connection import StoreReader, open_reader, store_exists
from streaming.store.event_ids import (
    Content,
    find_stored_ids,
    has_events_between,
    read_derived_contents,
)
from streaming.system.home import Home
from streaming.units import micros_of

CLOCKS_APART_MS: Final = 60_000
"""The broker's clock gives the time of a record, this host's clock that of a checkpoint."""

Window = tuple[int, int]
"""First and last ms in which an earlier release sent."""


@contextmanager
def stored_rows(
    settings: Settings, recording: Recording, shift_micros: int
) -> Iterator[PresentIds]:
    """Yield what returns the ids of rows that are stored; none if there is no database here.

    Raises what `open_reader` does, only if an earlier release sent from this home: its rows could
    be stored twice. Otherwise a database that cannot be read is passed over.
    """
    span = recording.frame["time"].drop_nulls().sort()
    if span.is_empty() or not store_exists(settings):
        yield find_none
        return
    windows = _windows_of_earlier_releases(settings.home, recording.digest)
    try:
        reader = open_reader(settings)
    except PurchasesError:
        if windows:
            raise
        yield find_none
        return
    with closing(reader):
        # The frame holds times as recorded.
        first, last = (int(span[at]) + shift_micros for at in (0, -1))
        with reader.snapshot() as store:
            if not has_events_between(store, first, last):
                yield find_none
                return
            if windows:
                show_archived(store, open_column_store(settings), (first, last + 1))
            contents = (
                Counter(
                    content
                    for appended_at, content in read_derived_contents(store, first, last)
                    if any(begun <= appended_at <= finished for begun, finished in windows)
                )
                if windows
                else Counter[Content]()
            )
        yield _present_ids(reader, contents, purchase_rules(settings))


def _present_ids(reader: StoreReader, contents: Counter[Content], rules: Rules) -> PresentIds:
    def present_ids(ids: Sequence[str], values: Sequence[bytes]) -> Container[str]:
        with reader.snapshot() as store:
            stored = find_stored_ids(store, ids)
        if not contents:
            return stored
        present = set(stored)
        for event_id, value in zip(ids, values, strict=True):
            content = _content(value, rules)
            # Each stored event is one row, whichever rule gave its id.
            if content is not None and contents[content] > 0:
                contents[content] -= 1
                present.add(event_id)
        return present

    return present_ids


def _content(value: bytes, rules: Rules) -> Content | None:
    """Return what a row says, as it would be stored; None if it would be refused."""
    # At a time after all others, so that no row is in the future.
    event = read_purchase(Record("purchases", NO_TOPIC_ID, 0, 0, 2**53, None, value), rules)[1]
    if not isinstance(event, PurchaseEvent):
        return None
    return (
        micros_of(event.timestamp),
        event.user,
        event.item,
        event.quantity,
        event.unit_price_micros,
        event.order_id,
        event.description,
        event.country,
    )


def find_checkpoints(home: Path, digest: bytes) -> list[Checkpoint]:
    """Return the checkpoints of a file with `digest`, on whichever cluster."""
    return [begun for begun in _checkpoints(home) if begun.digest == digest.hex()]


def _windows_of_earlier_releases(home: Path, digest: bytes) -> list[Window]:
    return [
        (
            _ms(begun.begun_at) - CLOCKS_APART_MS,
            _ms(begun.finished_at) + CLOCKS_APART_MS if begun.finished_at else 2**62,
        )
        for begun in _checkpoints(home)
        if begun.id_columns is None and begun.digest != digest.hex()
    ]


def _checkpoints(home: Path) -> Iterator[Checkpoint]:
    for path in sorted(Home(home).replay_checkpoint("*").parent.glob("*.json")):
        begun = read_checkpoint(path)
        if begun is not None:
            yield begun


def _ms(text: str) -> int:
    """Return whole seconds of ISO 8601 in ms."""
    return micros_of(datetime.fromisoformat(text).astimezone(UTC)) // 1000
