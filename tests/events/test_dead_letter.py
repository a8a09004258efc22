"""A dead letter keeps everything, says why, and leads back to the origin."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streaming.events.dead_letter import (
    KEPT_BYTES,
    DeadLetter,
    DeadLetterHeaders,
    dead_letter,
    escaped_text,
    read_dead_letter_headers,
    size_in_bytes,
)
from streaming.events.purchase import read_purchase
from streaming.events.record import (
    DEAD_LETTER,
    MAX_ATTEMPT,
    ORIGIN,
    Header,
    Headers,
    Origin,
    Record,
    own_origin,
    read_origin,
)
from streaming.events.refusal import Reason, Refusal
from tests.events.given import (
    REDRIVE,
    RULES,
    TOPIC_ID,
    TOPIC_ID_TEXT,
    origin_fields,
    record,
    thorough,
)
from tests.events.strategies import ORIGINS, RECORDS, REFUSALS, headers

LIMIT = 16 * 1024 * 1024
SMALLEST = 16 * 1024
REFUSAL = Refusal(Reason.INVALID_PRICE, "unit_price '-5' is no price")
VERDICT: list[Header] = [
    ("dlq.reason", b"invalid_price"),
    ("dlq.detail", b"unit_price '-5' is no price"),
    ("dlq.version", b"1"),
    ("dlq.topic", b"purchases"),
    ("dlq.topic_id", TOPIC_ID_TEXT),
    ("dlq.partition", b"3"),
    ("dlq.offset", b"42"),
    ("dlq.timestamp", b"1764000000000"),
    ("dlq.attempt", b"1"),
]


def make_dead_letter(given_record: Record, maximum_bytes: int = LIMIT) -> DeadLetter:
    """Make the dead letter of a record that is its own origin."""
    return dead_letter(given_record, own_origin(given_record), REFUSAL, maximum_bytes)


def redrive_headers(made: DeadLetter) -> Headers:
    """Map the headers as a redrive does: `dlq.*` become `origin.*`, which they replace."""
    kept = [header for header in made.headers if not header[0].startswith(ORIGIN)]
    return [(name.replace(DEAD_LETTER, ORIGIN, 1), value) for name, value in kept]


def test_key_and_value_are_unchanged_and_the_headers_say_why_and_whence() -> None:
    """Bytes that are no text are kept as they are, and every header of the contract is there."""
    made = make_dead_letter(
        record(b"\xff{", b"\x00\xfe", [("a", b"\xff"), ("b", None), ("a", b"")])
    )
    assert made.value == b"\xff{"
    assert made.key == b"\x00\xfe"
    assert made.headers == [("a", b"\xff"), ("b", None), ("a", b""), *VERDICT]


@pytest.mark.parametrize("nothing", [None, b""])
def test_what_is_absent_or_empty_stays_so(nothing: bytes | None) -> None:
    """A null and no bytes are not the same, in value and key."""
    for limit in (LIMIT, SMALLEST):
        made = make_dead_letter(record(nothing, nothing, [("a", b"x" * SMALLEST)]), limit)
        assert made.value == made.key == nothing


def test_incoming_dlq_headers_are_dropped_and_the_origin_goes_along() -> None:
    """A verdict that came in is none of ours; what a redrive said of the origin can be seen."""
    given_headers = [*origin_fields("dlq.", attempt=b"9"), ("dlq.truncated", b"1"), ("dlq.x", None)]
    made = make_dead_letter(record(b"{", None, [*given_headers, *origin_fields()]))
    assert made.headers == [*origin_fields(), *VERDICT]


def test_a_redriven_record_keeps_its_origin_and_counts_its_attempts() -> None:
    """Refused, redriven, refused: always the same origin, and one attempt more each time."""
    origin = Origin("purchases", TOPIC_ID, 0, 7, 1_763_900_000_000)
    given_headers: Headers = [("a", b"b")]
    for attempt in range(1, 6):
        placed = record(b"{", None, given_headers, REDRIVE)
        named_origin, verdict = read_purchase(placed, RULES) if attempt > 1 else (origin, REFUSAL)
        assert isinstance(verdict, Refusal)
        made = dead_letter(placed, named_origin, verdict, LIMIT)
        read = read_dead_letter_headers(made.headers)
        assert isinstance(read, DeadLetterHeaders)
        assert read.origin == Origin("purchases", TOPIC_ID, 0, 7, 1_763_900_000_000, attempt)
        given_headers = redrive_headers(made)
        assert ("a", b"b") in given_headers


def test_the_count_of_attempts_ends_at_what_can_be_read_again() -> None:
    """The last attempt that a header may say stays readable."""
    origin = Origin("purchases", TOPIC_ID, 0, 7, 0, MAX_ATTEMPT)
    made = dead_letter(record(b"{"), origin, REFUSAL, LIMIT)
    assert read_origin(redrive_headers(made), ORIGIN) == origin


def test_what_just_fits_is_kept_whole_and_one_byte_less_room_cuts() -> None:
    """The limit itself is still allowed."""
    given_record = record(b"v" * 100_000, b"k" * 100, [("a", b"b")])
    whole = make_dead_letter(given_record)
    assert make_dead_letter(given_record, size_in_bytes(whole)) == whole
    limit = size_in_bytes(whole) - 1
    cut = make_dead_letter(given_record, limit)
    assert cut.value == b"v" * (limit // 4)
    assert cut.key == given_record.key


def test_a_value_too_large_is_kept_as_its_first_64_kib_with_size_and_digest() -> None:
    """What is cut can still be told from anything else; key and headers are whole."""
    value = bytes(range(256)) * 70_000
    made = make_dead_letter(record(value, b"k", [("a", b"b")]))
    assert made.value == value[:KEPT_BYTES]
    assert made.key == b"k"
    assert made.headers == [
        ("a", b"b"),
        *VERDICT,
        ("dlq.truncated", b"17920000"),
        ("dlq.sha256", hashlib.sha256(value).hexdigest().encode()),
    ]


def test_a_key_too_large_is_cut_likewise() -> None:
    """The key's size and digest have names of their own, and the value is whole."""
    key = b"k" * (LIMIT + 1)
    made = make_dead_letter(record(b"v", key))
    assert made.value == b"v"
    assert made.key == key[:KEPT_BYTES]
    assert made.headers[len(VERDICT) :] == [
        ("dlq.truncated.key", b"16777217"),
        ("dlq.sha256.key", hashlib.sha256(key).hexdigest().encode()),
    ]


def test_headers_too_large_are_kept_up_to_the_first_that_does_not_fit() -> None:
    """Each is kept whole or not at all, and size and digest are of all of them."""
    given_headers: list[Header] = [("a", b"b"), ("n", None), ("h", b"x" * LIMIT), ("z", b"")]
    packed = b"\0\0\0\1a\0\0\0\1b" + b"\0\0\0\1n\xff\xff\xff\xff"
    packed += b"\0\0\0\1h\x01\0\0\0" + b"x" * LIMIT + b"\0\0\0\1z\0\0\0\0"
    made = make_dead_letter(record(b"v", b"k", given_headers))
    assert (made.key, made.value) == (b"k", b"v")
    assert made.headers == [
        ("a", b"b"),
        ("n", None),
        *VERDICT,
        ("dlq.truncated.headers", b"%d" % len(packed)),
        ("dlq.sha256.headers", hashlib.sha256(packed).hexdigest().encode()),
    ]


def test_of_very_many_headers_the_first_thousand_are_kept() -> None:
    """The client could read none of a dead letter with over 100,000, and nobody would see it."""
    given_headers: list[Header] = [("a", None)] * 100_000
    made = make_dead_letter(record(b"v", b"k", given_headers))
    packed = b"\0\0\0\1a\xff\xff\xff\xff" * 100_000
    assert (made.key, made.value) == (b"k", b"v")
    assert made.headers == [
        *given_headers[:1_000],
        *VERDICT,
        ("dlq.truncated.headers", b"%d" % len(packed)),
        ("dlq.sha256.headers", hashlib.sha256(packed).hexdigest().encode()),
    ]


@thorough
@given(RECORDS, ORIGINS, REFUSALS, st.integers(SMALLEST, 2**20), st.integers(0, 200_000))
def test_any_dead_letter_fits_and_leads_back_to_its_origin(
    given_record: Record, origin: Origin, refusal: Refusal, limit: int, size: int
) -> None:
    """Whatever is refused, and however little fits, origin and verdict can be read again."""
    large = Record(
        given_record.topic,
        given_record.topic_id,
        given_record.partition,
        given_record.offset,
        given_record.timestamp,
        given_record.key and given_record.key * 2_000,
        b"v" * size,
        [*given_record.headers, ("many", b"h" * (size // 2)), *[("", b"")] * (size // 16)],
    )
    for placed in (given_record, large):
        made = dead_letter(placed, origin, refusal, limit)
        assert size_in_bytes(made) <= limit
        verdict = read_dead_letter_headers(made.headers)
        again = read_origin(redrive_headers(made), ORIGIN)
        assert isinstance(verdict, DeadLetterHeaders)
        assert verdict.origin == again
        assert verdict.reason == refusal.reason
        assert again.attempt == min(origin.attempt + 1, MAX_ATTEMPT)
        assert (again.topic, again.topic_id, again.partition) == (
            origin.topic,
            origin.topic_id,
            origin.partition,
        )
        assert (again.offset, again.timestamp) == (origin.offset, origin.timestamp)


@thorough
@given(RECORDS)
def test_a_record_that_is_refused_is_refused_again_under_the_same_origin(
    given_record: Record,
) -> None:
    """A redrive of what nobody repaired changes nothing but the attempt."""
    origin, verdict = read_purchase(given_record, RULES)
    if not isinstance(verdict, Refusal):
        return
    made = dead_letter(given_record, origin, verdict, LIMIT)
    placed = Record(
        REDRIVE,
        TOPIC_ID,
        0,
        99,
        given_record.timestamp,
        made.key,
        made.value,
        redrive_headers(made),
    )
    again, repeated = read_purchase(placed, RULES)
    assert (again.topic_id, again.partition, again.offset) == (
        origin.topic_id,
        origin.partition,
        origin.offset,
    )
    assert again.attempt == origin.attempt + 1
    if verdict.reason is not Reason.INVALID_ORIGIN:
        assert repeated == verdict


@pytest.mark.parametrize(
    ("given_headers", "detail"),
    [
        ([], "the header dlq.topic is missing"),
        ([("x", b"y")], "the header dlq.topic is missing"),
        (origin_fields(), "the header dlq.topic is missing"),
        (origin_fields("dlq.", offset=None), "the header dlq.offset is missing"),
        (origin_fields("dlq.", offset=b"x"), "an dlq.* header is unreadable"),
    ],
)
def test_a_foreign_record_on_the_topic_is_told_from_a_dead_letter(
    given_headers: Headers, detail: str
) -> None:
    """What is not ours gives a refusal that names what is missing."""
    verdict = read_dead_letter_headers(given_headers)
    assert isinstance(verdict, Refusal)
    assert verdict.detail.startswith(detail)


def test_a_verdict_of_a_newer_version_is_read_as_far_as_it_goes() -> None:
    """Codes are added over time, so an unknown one is only a text; so is a missing one."""
    unknown = read_dead_letter_headers([*origin_fields("dlq."), ("dlq.reason", b"invalid_colour")])
    assert isinstance(unknown, DeadLetterHeaders)
    assert (unknown.reason, unknown.detail) == ("invalid_colour", "")


@thorough
@given(headers())
def test_any_headers_give_a_verdict_or_a_refusal(given_headers: list[Header]) -> None:
    """Nothing is raised, and the texts are such that any database holds them."""
    verdict = read_dead_letter_headers(given_headers)
    if isinstance(verdict, DeadLetterHeaders):
        assert "\0" not in verdict.reason + verdict.detail


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, None),
        (b"", ""),
        ("é".encode(), "é"),
        (b"a\xffb", "a\\xffb"),
        (b"a\0b", "a\\x00b"),
        (b"x" * 2000, "x" * 1024),
        ("\U0001f600".encode() * 2000, "\U0001f600" * 1024),
        (b"a" + "\U0001f600".encode() * 2000, "a" + "\U0001f600" * 1023),
    ],
)
def test_bytes_are_shown_as_text_that_any_database_holds(
    content: bytes | None, expected: str | None
) -> None:
    """What is no text is escaped, what is long is cut between characters."""
    assert escaped_text(content) == expected
