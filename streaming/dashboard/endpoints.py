"""The stream's part of the API: totals, live figures, status, dead letters, and two actions.

What is answered is made elsewhere; here what was asked for becomes calls.
"""

from collections.abc import Callable, Mapping
from itertools import islice
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from streaming.api.endpoint import Endpoint, NoParameters
from streaming.dead_letters.reader import LetterReader
from streaming.dead_letters.redrive import Redriven, redrive
from streaming.dead_letters.redrive import Request as RedriveRequest
from streaming.dead_letters.render import Listed, Shown, listed, shown
from streaming.dead_letters.repair import Repair, read_rules
from streaming.kafka.names import Names
from streaming.kafka.preflight import preflight
from streaming.settings import Settings
from streaming.status.collect import SectionOf, collect_status
from streaming.status.model import Status
from streaming.store.connection import read_store
from streaming.store.dead_letters import (
    LetterFilter,
    count_by_day,
    count_by_reason,
    find_letter,
    find_letters,
)
from streaming.totals.report import Report, read_report
from streaming.totals.sampler import Now
from streaming.verification.verify import verify

State = Literal["open", "redriven", "stored", "parked", "dropped"]
NOT_STORED: Final[tuple[State, ...]] = ("open", "redriven", "parked", "dropped")


class Letters(Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead letters, newest first; from `offset` on at most `limit`."""

    reason: str | None = None
    key: str | None = None
    state: list[State] = []
    limit: Annotated[int, Meta(ge=1, le=500)] = 100
    offset: Annotated[int, Meta(ge=0, le=1_000_000_000)] = 0


class LettersPage(Struct, frozen=True):
    """Counts of all that fit by reason, and by local day and reason; a page of them."""

    counts: dict[str, int]
    by_day: list[tuple[str, str, int]]
    dead_letters: list[Listed]
    next_offset: int | None


class Letter(Struct, frozen=True, forbid_unknown_fields=True):
    """One dead letter: topic id, partition and offset of its origin, with `:` between."""

    id: str


class RedriveBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Which refused records, repaired how; without `send` it is a dry run."""

    reason: str | None = None
    ids: list[str] = []
    set: list[str] = []
    force: bool = False
    send: bool = False


class Verified(Struct, frozen=True):
    """What a verification found: how many differences, and the first of them in words."""

    agrees: bool
    differences: int
    examples: list[str]


def stream_endpoints(live: Callable[[], Now], sections: Mapping[str, SectionOf]) -> list[Endpoint]:
    """Give the endpoints; `live` looks at the store, `sections` is what others add to status."""

    def now(_settings: Settings, _: NoParameters) -> Now:
        return live()

    def status(settings: Settings, _: NoParameters) -> Status:
        return collect_status(settings, sections)

    return [
        Endpoint("GET", "totals", "What was sold in all", _totals, Report),
        Endpoint("GET", "live", "What is selling now, and the last hour", now, Now),
        Endpoint("GET", "status", "How every part does", status, Status),
        Endpoint("GET", "dead-letters", "Refused records", _letters, LettersPage, Letters),
        Endpoint(
            "POST",
            "dead-letters/redrive",
            "Send refused records again, or say what would become of them",
            _redrive,
            Redriven,
            RedriveBody,
            max_concurrent=1,
        ),
        Endpoint("GET", "dead-letters/{id}", "One with all that is kept", _letter, Shown, Letter),
        Endpoint("POST", "verify", "Verify everything", _verify, Verified, max_concurrent=1),
    ]


def _totals(settings: Settings, _: NoParameters) -> Report:
    return read_report(settings, distinct=True)[0]


def _letters(settings: Settings, asked: Letters) -> LettersPage:
    wanted = LetterFilter(tuple(asked.state) or NOT_STORED, reason=asked.reason, key=asked.key)
    end = asked.offset + asked.limit
    with read_store(settings) as store:
        found = list(islice(find_letters(store, wanted, newest_first=True), asked.offset, end + 1))
        return LettersPage(
            counts=count_by_reason(store, wanted),
            by_day=count_by_day(store, wanted, settings.zone),
            dead_letters=[listed(letter) for letter in found[: asked.limit]],
            next_offset=end if len(found) > asked.limit else None,
        )


def _letter(settings: Settings, asked: Letter) -> Shown:
    with read_store(settings) as store:
        letter = find_letter(store, asked.id)
    cluster = preflight(settings, reads=[Names.of(settings).dead_letters])
    with LetterReader(settings, cluster.bootstrap_servers) as reader:
        return shown(letter, reader.find(letter), reader.attempts(letter))


def _redrive(settings: Settings, asked: RedriveBody) -> Redriven:
    wanted = LetterFilter(
        ("open", "parked") if asked.force else ("open",),
        reason=asked.reason,
        ids=frozenset(asked.ids) if asked.ids else None,
    )
    request = RedriveRequest(wanted, Repair(read_rules(asked.set)), asked.force)
    return redrive(settings, request, send=asked.send)


def _verify(settings: Settings, _: NoParameters) -> Verified:
    result = verify(settings, lambda _what, _done, _total: None)
    return Verified(not result.differences, result.differences, result.examples)
