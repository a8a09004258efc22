"""Tests of the generated purchases: what a shop's days look like, and that a seed fixes them."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import groupby, islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from streaming.events.purchase import PurchaseEvent, Rules, read_purchase
from streaming.events.record import Record
from streaming.events.refusal import Reason, Refusal
from streaming.producer.generator.corruption import (
    CORRUPTIONS,
    Corruption,
    corrupted_value,
    count_corrupted,
)
from streaming.producer.generator.orders import Line, catalogue, generate_lines
from streaming.producer.generator.records import ProduceRequest, generate_records, raw_purchase
from streaming.producer.generator.timing import add_times
from streaming.producer.record import ProducerRecord, encode_purchase
from streaming.units import EPOCH, MICROSECOND

START = datetime(2024, 3, 1, 8, tzinfo=UTC)
APPENDED = 4_000_000_000_000
EVENT_ID = "018f0000-0000-8000-8000-000000000000"
RULES = Rules("GBP", datetime(2010, 1, 1, tzinfo=UTC), 10**12, "purchases.redrive")


@pytest.fixture(scope="module")
def year() -> list[Line]:
    """Return enough lines for shares to be steady."""
    return list(islice(generate_lines(1), 50_000))


def read(message: ProducerRecord) -> PurchaseEvent | Refusal:
    """Judge a message as the processor does."""
    record = Record("purchases", b"\1" * 16, 0, 17, APPENDED, message.key, message.value)
    return read_purchase(record, RULES)[1]


def event(message: ProducerRecord) -> PurchaseEvent:
    """Return the event of a message that must be valid."""
    verdict = read(message)
    assert isinstance(verdict, PurchaseEvent), verdict
    return verdict


def test_few_items_are_popular_and_the_rest_is_bought_too(year: list[Line]) -> None:
    """A tenth of the catalogue makes over half of the lines, the first item leads clearly."""
    bought = Counter(line.item for line in year)
    first, second = (count for _, count in bought.most_common(2))
    assert sum(count for _, count in bought.most_common(60)) > len(year) / 2
    assert first > 1.5 * second
    assert len(bought) > 500


def test_an_item_has_one_code_one_name_and_one_price(year: list[Line]) -> None:
    """The catalogue is the same for every seed, and no code or name comes twice in it."""
    items = catalogue()
    assert len({item.code for item in items}) == len({item.description for item in items})
    by_code = {item.code: (item.description, item.unit_price) for item in items}
    assert len(by_code) == len(items)
    assert all(by_code[line.item] == (line.description, line.unit_price) for line in year)


def test_customers_return_and_live_in_one_country(year: list[Line]) -> None:
    """Most customers order more than once, and each always from the same country."""
    orders = Counter(line.user for line in year if line.first and line.user)
    assert sum(count > 1 for count in orders.values()) > len(orders) / 2
    countries = {(line.user, line.country) for line in year if line.user}
    assert len(countries) == len({user for user, _ in countries})


def test_a_fifth_of_the_orders_are_of_guests(year: list[Line]) -> None:
    """Guests have no user, but an order id."""
    orders = [line for line in year if line.first]
    guests = sum(line.user is None for line in orders)
    assert 0.17 < guests / len(orders) < 0.23
    assert all(line.order_id for line in year)


def test_orders_have_several_lines_of_one_customer(year: list[Line]) -> None:
    """Lines of an order follow each other, have one user, and are three to four on average."""
    orders = [list(group) for _, group in groupby(year, key=lambda line: line.order_id)]
    assert len(orders) == sum(line.first for line in year)
    assert 3 < len(year) / len(orders) < 4
    assert all(len({(line.user, line.country) for line in order}) == 1 for order in orders)


def test_what_is_returned_was_bought_before(year: list[Line]) -> None:
    """Returns are a few orders in a hundred, of at most what the customer had bought."""
    bought: dict[tuple[str | None, str], int] = {}
    returns = 0
    for line in year:
        if line.quantity < 0:
            returns += 1
            assert line.order_id.startswith("C")
            assert -line.quantity <= bought[line.user, line.item]
        else:
            most = bought.get((line.user, line.item), 0)
            bought[line.user, line.item] = max(most, line.quantity)
    assert 0.03 < returns / sum(line.first for line in year) < 0.05


def test_days_have_busy_and_quiet_hours_of_the_time_zone(year: list[Line]) -> None:
    """Noon sells more than ten times what the small hours do, in the clock of the zone given."""
    zone = ZoneInfo("Asia/Tokyo")
    hours = Counter(
        (EPOCH + micros * MICROSECOND).astimezone(zone).hour
        for micros, _ in add_times(year, 1, START, zone)
    )
    assert hours[12] > 10 * hours[3] > 0


def test_times_begin_at_the_start_never_go_back_and_an_order_is_one_moment(
    year: list[Line],
) -> None:
    """About 20,000 lines are a day."""
    times = list(add_times(year, 1, START, UTC))
    assert EPOCH + times[0][0] * MICROSECOND == START
    assert all(before[0] <= after[0] for before, after in pairwise(times))
    moments = {(line.order_id, micros) for micros, line in times}
    assert len(moments) == len({line.order_id for line in year})
    days = timedelta(microseconds=times[-1][0] - times[0][0]) / timedelta(days=1)
    assert 17_000 < len(year) / days < 23_000


def stream(request: ProduceRequest, count: int) -> list[ProducerRecord]:
    """Return the first messages of a request."""
    return [message for _, message in islice(generate_records(request, UTC), count)]


def test_seed_and_start_fix_every_byte() -> None:
    """Ids and times included, whatever the rate; another seed or start gives other ids."""
    request = ProduceRequest(seed=7, start=START, bad_share=0.1)
    again = ProduceRequest(seed=7, start=START, bad_share=0.1, rate=None, count=500)
    assert stream(request, 500) == stream(again, 500)
    others = [
        ProduceRequest(seed=-7, start=START),
        ProduceRequest(seed=7, start=START + timedelta(days=1)),
    ]
    ids = {event(message).event_id for message in stream(request, 500) if is_valid(message)}
    for other in others:
        assert ids.isdisjoint(event(message).event_id for message in stream(other, 500))


def is_valid(message: ProducerRecord) -> bool:
    """Return whether the processor takes a message."""
    return isinstance(read(message), PurchaseEvent)


@pytest.mark.parametrize("start", [None, START])
def test_without_a_seed_all_is_new(start: datetime | None) -> None:
    """Two runs share neither purchases nor ids."""
    one, other = (stream(ProduceRequest(start=start), 200) for _ in range(2))
    assert {message.value for message in one}.isdisjoint(message.value for message in other)


def test_a_seed_alone_gives_the_same_purchases_as_new_events() -> None:
    """Without a start, times and ids are new, and everything else comes again."""
    one, other = (stream(ProduceRequest(seed=3), 200) for _ in range(2))
    bought = [
        [(e.user, e.item, e.quantity, e.order_id) for e in map(event, run)] for run in (one, other)
    ]
    assert bought[0] == bought[1]
    assert {event(m).event_id for m in one}.isdisjoint(event(m).event_id for m in other)


def test_every_good_message_is_valid_and_keyed() -> None:
    """The key is the user, a guest's is the order; ids differ from each other."""
    run = stream(ProduceRequest(seed=5, start=START), 2_000)
    events = [event(message) for message in run]
    keys = [(e.user or e.order_id or "").encode() for e in events]
    assert keys == [message.key for message in run]
    assert len({e.event_id for e in events}) == len(events)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.01, 0.29, 1.0])
def test_the_bad_share_is_exact_and_leaves_the_others_as_they_are(share: float) -> None:
    """Of 2,000 purchases exactly the share is refused; the rest is what it is without."""
    plain = stream(ProduceRequest(seed=5, start=START), 2_000)
    mixed = stream(ProduceRequest(seed=5, start=START, bad_share=share), 2_000)
    changed = [pair for pair in zip(plain, mixed, strict=True) if pair[0] != pair[1]]
    assert len(changed) == round(share * 2_000) == sum(not is_valid(message) for message in mixed)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.reason)
def test_each_corruption_is_refused_for_its_reason(corruption: Corruption) -> None:
    """A corrupted purchase is never accepted, of customers or guests."""
    for line in islice(generate_lines(1), 40):
        purchase = raw_purchase(line, int(START.timestamp()) * 10**6, EVENT_ID)
        assert isinstance(read(ProducerRecord(b"17850", encode_purchase(purchase))), PurchaseEvent)
        verdict = read(ProducerRecord(b"17850", corruption.value(purchase)))
        assert isinstance(verdict, Refusal)
        assert verdict.reason == corruption.reason


def test_corruptions_take_turns_through_many_reasons() -> None:
    """So that a demonstration shows refusals of every kind."""
    line = next(generate_lines(1))
    purchase = raw_purchase(line, 0, EVENT_ID)
    number = len(CORRUPTIONS)
    assert len({corrupted_value(purchase, turn) for turn in range(2 * number)}) == number
    reasons = {corruption.reason for corruption in CORRUPTIONS}
    not_of_a_value = {
        *(Reason.TOO_LARGE, Reason.INVALID_ORIGIN, Reason.NOT_STORABLE),
        *(Reason.UNKNOWN_SCHEMA, Reason.SCHEMA_MISMATCH),
    }
    assert reasons >= set(Reason) - not_of_a_value
    assert count_corrupted(1_000, 0.01) == 10
