"""The stream half's endpoints: totals, live figures, status, dead letters, and two actions.

Here parameters become calls, and their results a page. Nothing is computed here.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import date, datetime, time
from itertools import islice
from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from msgspec import Meta, Struct

from streaming.api.endpoint import Endpoint, NoParameters
from streaming.dead_letters.reader import DeadLetterReader
from streaming.dead_letters.redrive import RedriveRequest, RedriveResult, redrive
from streaming.dead_letters.render import DeadLetterDetails, DeadLetterSummary, details, summary
from streaming.dead_letters.repair import Repair, read_rules
from streaming.kafka.acls import redrive_rules
from streaming.kafka.names import Names
from streaming.kafka.preflight import preflight
from streaming.settings import Settings
from streaming.status.collect import SectionOf, collect_status
from streaming.status.model import Status
from streaming.store.connection import read_store
from streaming.store.dead_letters import (
    DeadLetterFilter,
    count_by_day,
    count_by_reason,
    find_dead_letter,
    find_dead_letters,
)
from streaming.totals.report import Report, read_report
from streaming.totals.sampler import Now
from streaming.units import micros_of
from streaming.verification.verify import verify

State = Literal["open", "redriven", "stored", "parked", "dropped"]
RENAMED: Final = {"first": "from", "last": "to"}
"""`from` is a keyword of Python."""
NOT_STORED: Final[tuple[State, ...]] = ("open", "redriven", "parked", "dropped")


class Selection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename=RENAMED):
    """Which dead letters: those for which each given condition holds.

    Refused on the local days `from` to `to`; `ids` names them one by one.
    """

    reason: str | None = None
    key: str | None = None
    first: date | None = None
    last: date | None = None
    ids: list[str] = []

    def filter(self, states: tuple[str, ...], zone: ZoneInfo) -> DeadLetterFilter:
        """Return the filter of these, in one of the states."""
        return DeadLetterFilter(
            states,
            reason=self.reason,
            since=None if self.first is None else _midnight(self.first, zone),
            until=None if self.last is None else _midnight(self.last, zone, days=1),
            key=self.key,
            ids=frozenset(self.ids) if self.ids else None,
        )


def _midnight(day: date, zone: ZoneInfo, days: int = 0) -> int:
    """Return the beginning of a local day, or of one `days` later, in µs."""
    # The last days of the calendar have no day after them.
    later = date.fromordinal(min(day.toordinal() + days, date.max.toordinal() - 1))
    return micros_of(datetime.combine(later, time(), zone))


class DeadLetterQuery(Selection, frozen=True):
    """Which dead letters, newest first; from `offset` on at most `limit`."""

    state: list[State] = []
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class DeadLetterPage(Struct, frozen=True):
    """Counts of all that match by reason, and by local day and reason; a page of them."""

    counts: dict[str, int]
    by_day: list[tuple[str, str, int]]
    dead_letters: list[DeadLetterSummary]
    next_offset: int | None


class DeadLetterId(Struct, frozen=True, forbid_unknown_fields=True):
    """One dead letter: topic id, partition and offset of its origin, with `:` between."""

    id: str


class RedriveOptions(Selection, frozen=True):
    """Which dead letters, and their repair; without `send` it is a dry run.

    With `valid_only` what would be refused again is left, counted by its reason.
    """

    set: list[str] = []
    force: bool = False
    valid_only: bool = False
    send: bool = False


class VerificationResult(Struct, frozen=True):
    """How many differences a verification found, and the first of them in words."""

    agrees: bool
    differences: int
    examples: list[str]


def stream_endpoints(live: Callable[[], Now], sections: Mapping[str, SectionOf]) -> list[Endpoint]:
    """Return the endpoints; `live` samples the store, `sections` are what others add to status."""

    def now(_settings: Settings, _: NoParameters) -> Now:
        return live()

    def status(settings: Settings, _: NoParameters) -> Status:
        return collect_status(settings, sections)

    return [
        Endpoint("GET", "totals", "Totals of all time", _totals, Report),
        Endpoint("GET", "live", "Live figures, and the last hour", now, Now),
        Endpoint("GET", "status", "Health of every part", status, Status),
        Endpoint(
            "GET", "dead-letters", "Dead letters", _dead_letters, DeadLetterPage, DeadLetterQuery
        ),
        Endpoint(
            "POST",
            "dead-letters/redrive",
            "Redrive dead letters, or show what would happen",
            _redrive,
            RedriveResult,
            RedriveOptions,
            # Two at once would send the same dead letters, each of them twice.
            max_concurrent=1,
        ),
        Endpoint(
            "GET",
            "dead-letters/{id}",
            "One dead letter with its value",
            _dead_letter,
            DeadLetterDetails,
            DeadLetterId,
        ),
        Endpoint(
            "POST", "verify", "Verify everything", _verify, VerificationResult, max_concurrent=1
        ),
    ]


def _totals(settings: Settings, _: NoParameters) -> Report:
    return read_report(settings, distinct=True)[0]


def _dead_letters(settings: Settings, query: DeadLetterQuery) -> DeadLetterPage:
    where = query.filter(tuple(query.state) or NOT_STORED, settings.zone)
    # One more than the page holds tells whether there is a next one.
    end = query.offset + query.limit
    with read_store(settings) as store:
        newest = find_dead_letters(store, where, newest_first=True)
        dead_letters = list(islice(newest, query.offset, end + 1))
        return DeadLetterPage(
            counts=count_by_reason(store, where),
            by_day=count_by_day(store, where, settings.zone),
            dead_letters=[summary(dead_letter) for dead_letter in dead_letters[: query.limit]],
            next_offset=end if len(dead_letters) > query.limit else None,
        )


def _dead_letter(settings: Settings, query: DeadLetterId) -> DeadLetterDetails:
    with read_store(settings) as store:
        dead_letter = find_dead_letter(store, query.id)
    needs = redrive_rules(Names.of(settings), send=False)
    cluster = preflight(settings, needs, patient=False)
    with closing(DeadLetterReader(settings, cluster.bootstrap_servers)) as reader:
        last = reader.find(dead_letter)
        return details(dead_letter, last, reader.attempts(dead_letter), reader.read_json(last))


def _redrive(settings: Settings, options: RedriveOptions) -> RedriveResult:
    states = ("open", "parked") if options.force else ("open",)
    repair = Repair(read_rules(options.set))
    where = options.filter(states, settings.zone)
    request = RedriveRequest(where, repair, options.force, options.valid_only)
    return redrive(settings, request, send=options.send)


def _verify(settings: Settings, _: NoParameters) -> VerificationResult:
    verification = verify(settings, lambda _what, _done, _total: None)
    return VerificationResult(
        not verification.differences, verification.differences, verification.examples
    )
