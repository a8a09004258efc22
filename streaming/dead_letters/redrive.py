"""Redrive: sending refused records again, as they are or repaired.

Each carries its origin, so that a redrive that is repeated, or dies in the middle, stores once. A
dry run takes the same steps except the sending. How a value is repaired is in `repair`.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Final

import msgspec
from msgspec import Struct, structs

from streaming.dead_letters.reader import DeadLetterReader, DeadLetterRecord
from streaming.dead_letters.repair import Repair, RepairError, repaired_value
from streaming.errors import PurchasesError
from streaming.events.dead_letter import escaped_text
from streaming.events.framing import without_schema_ids
from streaming.events.purchase import Rules
from streaming.events.record import (
    DEAD_LETTER,
    ORIGIN,
    Header,
    Record,
    forwarded_headers,
    names_origin,
    origin_headers,
    read_origin,
)
from streaming.events.refusal import Reason
from streaming.kafka.acls import redrive_rules
from streaming.kafka.config import producer_config
from streaming.kafka.names import Names
from streaming.kafka.preflight import preflight
from streaming.kafka.purchase_rules import purchase_rules
from streaming.kafka.topics import Topic
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
from streaming.store.erasure import erasure_ids
from streaming.store.pseudonyms import Pseudonyms, read_pseudonyms
from streaming.store.rows import PARKED, PARKED_ATTEMPTS
from streaming.system.home import Home
from streaming.system.shutdown import StopRequest

# Marked at once: few enough that a kill repeats little, enough that commits do not slow it down.
BATCH: Final = 500
GONE: Final = "gone"
ERASED: Final = "erased"
SENT_BEFORE: Final = "sent_before"
ACCEPTED: Final = "stored"
# Of a dead letter that is never sent: large enough that nothing is cut.
DEAD_LETTER_BYTES: Final = 16 * 1024 * 1024

Report = Callable[[int], None]


class RedriveResult(Struct, frozen=True):
    """What a redrive did, or what it would do if it is a dry run.

    `outcomes` counts what today's rules make of each: `stored`, or the code of its refusal. `left`
    counts what is not sent: `gone` from the topic, `cut` there, `no_object` to set a field in,
    `other_currency` of a price that would keep its number, still `too_large`, `not_storable`, as no
    purchase is, `erased`, as its customer was; without force `parked`, and `sent_before` by an
    earlier release; with `valid_only` codes of refusals. Named ones in another state count by that
    state.
    """

    sent: bool
    outcomes: dict[str, int]
    left: dict[str, int]


@dataclass
class _Count:
    outcomes: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _RepairedRecord:
    """A record to send again, and the dead letter that it was."""

    dead_letter: StoredDeadLetter
    key: bytes | None
    value: bytes | None
    headers: list[Header]


class RedriveRequest(Struct, frozen=True):
    """Which dead letters, how they are repaired, and whether (`force`) parked ones too.

    `force` also sends those that an earlier release may have sent before. `valid_only` leaves those
    that today's rules would refuse again.
    """

    selection: DeadLetterFilter
    repair: Repair
    force: bool = False
    valid_only: bool = False


def redrive(
    settings: Settings, request: RedriveRequest, *, send: bool, report: Report = lambda _: None
) -> RedriveResult:
    """Send the dead letters that fit again (`send`), or only count what would become of them.

    `report` hears how many were worked on. Raises `PurchasesError` if what was sent is not
    acknowledged (run it again: nothing is stored twice), `Unavailable` if broker, database or
    schema registry do not answer.
    """
    names = Names.of(settings)
    needs = redrive_rules(names, send=send)
    cluster = preflight(settings, needs, optional=[names.redrive])
    topic = cluster.topics.get(names.redrive)
    if topic is None:
        raise PurchasesError(
            f"The topic {names.redrive} does not exist, or this user may not see it; create it with"
            " `purchases topics create`."
        )
    count = _Count()
    with (
        # A snapshot: the marks that are written meanwhile do not change which dead letters it
        # reads.
        read_store(settings) as store,
        closing(DeadLetterReader(settings, cluster.bootstrap_servers)) as reader,
    ):
        count.left.update(_named_in_other_states(store, request.selection))
        pseudonyms = read_pseudonyms(Home(settings.home).erasures, erasure_ids(store))
        dead_letters = _report_each(find_dead_letters(store, request.selection), report)
        repaired = _repair_all(dead_letters, reader, request, pseudonyms, count)
        rules = purchase_rules(settings, reader.schemas)
        records = _count_outcomes(repaired, rules, topic, request, count)
        if send:
            _send(records, settings, cluster.bootstrap_servers)
        else:
            # Runs the generators, which count what they pass on.
            deque(records, maxlen=0)
    return RedriveResult(send, dict(count.outcomes.most_common()), dict(count.left.most_common()))


def _named_in_other_states(store: StoreConnection, selection: DeadLetterFilter) -> Iterator[str]:
    """Yield the states of the dead letters that are named but in none of the states asked for."""
    if selection.ids is not None:
        others = tuple(state for state in STATES if state not in selection.states)
        for dead_letter in find_dead_letters(store, structs.replace(selection, states=others)):
            yield dead_letter.state


def _report_each(
    dead_letters: Iterator[StoredDeadLetter], report: Report
) -> Iterator[StoredDeadLetter]:
    for number, dead_letter in enumerate(dead_letters, 1):
        yield dead_letter
        report(number)


def _repair_all(
    dead_letters: Iterator[StoredDeadLetter],
    reader: DeadLetterReader,
    request: RedriveRequest,
    pseudonyms: Pseudonyms,
    count: _Count,
) -> Iterator[_RepairedRecord]:
    """Yield the records to send, repaired; count those that are not sent."""
    for dead_letter in dead_letters:
        # What the row tells comes first: its record is then not read from the topic.
        if dead_letter.reason == Reason.NOT_STORABLE:
            count.left[Reason.NOT_STORABLE] += 1
            continue
        if dead_letter.attempts >= PARKED_ATTEMPTS and not request.force:
            count.left[PARKED] += 1
            continue
        record = reader.find(dead_letter)
        if record is None:
            count.left[GONE] += 1
            continue
        plain = reader.read_unframed(record.record)
        if pseudonyms.erased and _is_of_erased(plain, pseudonyms):
            count.left[ERASED] += 1
            continue
        if not request.force and _was_sent_before(record):
            count.left[SENT_BEFORE] += 1
            continue
        try:
            yield _repair_one(dead_letter, record, plain, request.repair)
        except RepairError as error:
            count.left[error.code] += 1


def _is_of_erased(record: Record, pseudonyms: Pseudonyms) -> bool:
    """Return whether key or value name somebody who was erased."""
    texts = [escaped_text(record.key), *_naming_texts(record.value or b"")]
    return any(pseudonyms.of_erased_key(text) or pseudonyms.is_named(text) for text in texts)


def _naming_texts(value: bytes) -> list[str]:
    """Return user and order of a refused value as texts; all of it if it cannot be read."""
    try:
        fields = msgspec.json.decode(value, type=dict[str, object])
    except (ValueError, RecursionError):
        return [value.decode(errors="replace")]
    return [str(fields.get(name)) for name in ("user", "order_id")]


def _was_sent_before(record: DeadLetterRecord) -> bool:
    """Return whether the refused record names another purchase as its origin.

    It stood on `purchases`, where that counts for nothing: a release before `purchases.redrive` may
    have sent it again. The purchase that it names has a dead letter of its own, and would be stored
    twice by redriving both.
    """
    headers, own = record.record.headers, record.headers.origin
    if not names_origin(headers):
        return False
    named = read_origin(headers, ORIGIN)
    return (named.topic_id, named.partition, named.offset) != (
        own.topic_id,
        own.partition,
        own.offset,
    )


def _repair_one(
    dead_letter: StoredDeadLetter, record: DeadLetterRecord, plain: Record, repair: Repair
) -> _RepairedRecord:
    """Make the record that is sent again: key and headers as they came, and its origin.

    A field is set in the JSON that a framed value is (`plain`). What is repaired is JSON, and no
    longer of that schema. Raises `RepairError` if its value cannot be repaired in this way.
    """
    refused, headers = record.record, record.record.headers
    cut = any(name.startswith(f"{DEAD_LETTER}truncated") for name, _ in headers)
    given = plain.value if repair.fields else refused.value
    value = repaired_value(dead_letter.id, given, repair, cut=cut)
    if value is not refused.value:
        headers = without_schema_ids(headers)
    # A record that was redriven before has older origin headers.
    carried = [header for header in forwarded_headers(headers) if not header[0].startswith(ORIGIN)]
    with_origin = [*carried, *origin_headers(record.headers.origin, ORIGIN)]
    return _RepairedRecord(dead_letter, refused.key, value, with_origin)


def _count_outcomes(
    records: Iterator[_RepairedRecord],
    rules: Rules,
    topic: Topic,
    request: RedriveRequest,
    count: _Count,
) -> Iterator[_RepairedRecord]:
    """Count what the processor would make of each record, by its own function.

    What is too large is not sent: no rule will accept it, and with the headers of its origin it may
    be more than the topic takes.
    """
    for record in records:
        now = time.time_ns() // 1_000_000
        # As it will be appended. Partition and offset do not matter, because the headers name its
        # origin.
        sent = Record(
            topic.name, topic.topic_id, 0, 0, now, record.key, record.value, record.headers
        )
        output = transform(sent, rules, "", DEAD_LETTER_BYTES)
        left_if_refused = request.valid_only and output.reason is not None
        if output.reason is Reason.TOO_LARGE or left_if_refused:
            count.left[str(output.reason)] += 1
            continue
        count.outcomes[ACCEPTED if output.reason is None else str(output.reason)] += 1
        yield record


def _send(records: Iterator[_RepairedRecord], settings: Settings, servers: str) -> None:
    """Send in batches; a batch is marked when all of it is acknowledged."""
    config = producer_config(settings, servers, "redrive")
    sender = RecordSender(config, Names.of(settings).redrive, StopRequest())
    batch: list[StoredDeadLetter] = []
    # Nothing is sent if the database would refuse the marks.
    _mark(settings, batch)
    for record in records:
        if not sender.send(record.key, record.value, record.headers):
            break
        batch.append(record.dead_letter)
        if len(batch) >= BATCH:
            # Acknowledged first, then marked: a kill in between sends again, and nothing twice into
            # the store.
            _confirm(sender)
            _mark(settings, batch)
            batch.clear()
    _confirm(sender)
    _mark(settings, batch)


def _mark(settings: Settings, dead_letters: list[StoredDeadLetter]) -> None:
    with write_store(settings) as store:
        mark_redriven(store, dead_letters)


def _confirm(sender: RecordSender) -> None:
    """Wait until all that was sent is acknowledged. Raises `PurchasesError` if one is not."""
    if not sender.wait_until_drained() or sender.failure:
        sender.finish()
        why = f" ({sender.failure})" if sender.failure else ""
        raise PurchasesError(
            f"{len(sender.unacknowledged):,} of the records sent again are not acknowledged{why}."
            " Run the same command again: nothing is stored twice."
        )
