"""Sending refused records again: as they are, repaired by a rule, or by a file of corrections.

Each carries its origin, so that a redrive that is repeated, or dies in the middle, stores once. A
dry run goes the same way, but for the sending.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from msgspec import Struct, structs

from streaming.dead_letters.reader import Kept, LetterReader
from streaming.dead_letters.repair import Repair, Unrepairable, repaired
from streaming.errors import PurchasesError
from streaming.events.purchase import Rules
from streaming.events.record import (
    DEAD_LETTER,
    ORIGIN,
    Header,
    Record,
    forwarded_headers,
    origin_headers,
)
from streaming.events.refusal import Reason
from streaming.kafka.config import producer_config
from streaming.kafka.names import Names
from streaming.kafka.preflight import preflight
from streaming.kafka.records import headers_of
from streaming.processor.transform import transform
from streaming.producer.sender import RecordSender
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store, write_store
from streaming.store.dead_letters import (
    STATES,
    DeadLetterFilter,
    StoredDeadLetter,
    find_dead_letters,
    mark_redriven,
)
from streaming.store.rows import PARKED, PARKED_ATTEMPTS
from streaming.system.shutdown import StopRequest

BATCH: Final = 500
GONE: Final = "gone"
ACCEPTED: Final = "stored"
DEAD_LETTER_BYTES: Final = 16 * 1024 * 1024

Report = Callable[[int], None]


class Redriven(Struct, frozen=True):
    """What a redrive did, or as a dry run would do.

    `outcomes` says of each what becomes of it under today's rules: `stored`, or the code of its
    refusal. `left` are not sent: `gone` from the topic, `cut` there, `no_object` to set a field
    in, still `too_large`, `parked` without force, and of those that were named the ones in another
    state, by it.
    """

    sent: bool
    outcomes: dict[str, int]
    left: dict[str, int]


@dataclass
class _Count:
    outcomes: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Again:
    """A record to be sent again."""

    letter: StoredDeadLetter
    key: bytes | None
    value: bytes | None
    headers: list[Header]


class Request(Struct, frozen=True):
    """Which dead letters, how they are repaired, and whether parked ones (`force`) too."""

    wanted: DeadLetterFilter
    repair: Repair
    force: bool = False


def redrive(
    settings: Settings, request: Request, *, send: bool, report: Report = lambda _: None
) -> Redriven:
    """Send the letters that fit again (`send`), or only say what would become of them.

    `report` is told how many were looked at. Raises `PurchasesError` where what was sent is not
    acknowledged (run it again: nothing is stored twice), `Unavailable` where broker or database
    do not answer.
    """
    names = Names.of(settings)
    writes = [names.purchases] if send else []
    cluster = preflight(settings, reads=[names.dead_letters, names.purchases], writes=writes)
    count = _Count()
    with (
        read_store(settings) as store,
        LetterReader(settings, cluster.bootstrap_servers) as reader,
    ):
        count.left.update(_named_in_other_states(store, request.wanted))
        letters = _counted(find_dead_letters(store, request.wanted), report)
        topic_id = cluster.topics[names.purchases].topic_id
        again = _again(letters, reader, request, count)
        judged = _judged(again, settings, topic_id, count)
        if send:
            _send(judged, settings, cluster.bootstrap_servers)
        else:
            deque(judged, maxlen=0)
    return Redriven(send, dict(count.outcomes.most_common()), dict(count.left.most_common()))


def _named_in_other_states(store: StoreConnection, wanted: DeadLetterFilter) -> Iterator[str]:
    """Give the states of the letters that were named, but are in none of the wanted states."""
    if wanted.ids is not None:
        others = tuple(state for state in STATES if state not in wanted.states)
        for letter in find_dead_letters(store, structs.replace(wanted, states=others)):
            yield letter.state


def _counted(letters: Iterator[StoredDeadLetter], report: Report) -> Iterator[StoredDeadLetter]:
    for number, letter in enumerate(letters, 1):
        yield letter
        report(number)


def _again(
    letters: Iterator[StoredDeadLetter],
    reader: LetterReader,
    request: Request,
    count: _Count,
) -> Iterator[_Again]:
    """Give the records to send, repaired; count those that are left."""
    for letter in letters:
        if letter.attempts >= PARKED_ATTEMPTS and not request.force:
            count.left[PARKED] += 1
            continue
        kept = reader.find(letter)
        if kept is None:
            count.left[GONE] += 1
            continue
        try:
            yield _record_again(letter, kept, request.repair)
        except Unrepairable as error:
            count.left[error.code] += 1


def _record_again(letter: StoredDeadLetter, kept: Kept, repair: Repair) -> _Again:
    """Make the record that is sent again: key and headers as they came, and its origin.

    Raises `Unrepairable` where its value cannot be repaired in this way.
    """
    message, headers = kept.message, headers_of(kept.message)
    cut = any(name.startswith(f"{DEAD_LETTER}truncated") for name, _ in headers)
    value = repaired(letter.id, message.value(), repair, cut=cut)
    carried = [header for header in forwarded_headers(headers) if not header[0].startswith(ORIGIN)]
    again = [*carried, *origin_headers(kept.verdict.origin, ORIGIN)]
    return _Again(letter, message.key(), value, again)


def _judged(
    again: Iterator[_Again], settings: Settings, topic_id: bytes, count: _Count
) -> Iterator[_Again]:
    """Count what the processor would make of each record, by its own function.

    What is too large is left: no rule will ever take it, and with its origin it may be more than
    the topic does.
    """
    rules = Rules(settings.currency, settings.history_start_time)
    topic = Names.of(settings).purchases
    for record in again:
        now = time.time_ns() // 1_000_000
        sent = Record(topic, topic_id, 0, 0, now, record.key, record.value, record.headers)
        output = transform(sent, rules, "", DEAD_LETTER_BYTES)
        if output.reason is Reason.TOO_LARGE:
            count.left[str(output.reason)] += 1
            continue
        count.outcomes[ACCEPTED if output.reason is None else str(output.reason)] += 1
        yield record


def _send(records: Iterator[_Again], settings: Settings, servers: str) -> None:
    """Send in batches; a batch is marked when all of it is acknowledged."""
    config = producer_config(settings, servers, "redrive")
    sender = RecordSender(config, Names.of(settings).purchases, StopRequest())
    batch: list[StoredDeadLetter] = []
    for record in records:
        if not sender.send(record.key, record.value, record.headers):
            break
        batch.append(record.letter)
        if len(batch) >= BATCH:
            _settle(sender)
            _mark(settings, batch)
            batch.clear()
    _settle(sender)
    _mark(settings, batch)


def _mark(settings: Settings, letters: list[StoredDeadLetter]) -> None:
    with write_store(settings) as store:
        mark_redriven(store, letters)


def _settle(sender: RecordSender) -> None:
    """Wait until all that was sent is acknowledged. Raises `PurchasesError` where one is not."""
    if not sender.drained() or sender.failure:
        sender.finish()
        why = f" ({sender.failure})" if sender.failure else ""
        raise PurchasesError(
            f"Of the records sent again {len(sender.unacknowledged):,} are not acknowledged{why};"
            " run it again, nothing is stored twice."
        )
