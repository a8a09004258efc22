"""The sampler: one reader of the live figures for all visitors of the dashboard.

The sums are kept in `window` and the statements are in `queries`. Who samples how often, and sends
it to whom, is decided by the caller.
"""

import math
import time
from collections import deque
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from typing import Final

from msgspec import Struct

from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, StoreReader, open_reader
from streaming.store.live_totals import count_corrections, live_figures, refusals, top_items
from streaming.totals import queries
from streaming.totals.window import (
    BUCKET_SECONDS,
    BUCKETS,
    RANKS_KEPT,
    Group,
    RunningSums,
    Window,
    bucket_of,
)
from streaming.units import decimal_text, rfc_3339

COMPARE_SECONDS: Final = 30.0
"""Yesterday up to now hardly changes between two samples, and summing it is the dearest part."""
COMPARE_SHARE: Final = 20
"""However large a day is, this takes a twentieth of the time at most."""
SMOOTH_SECONDS: Final = 3.0
"""Longer than a batch takes: the rate of one sample would jump with each commit."""
RANK_SECONDS: Final = 60.0
"""`RANKS_KEPT` of them are the hour over which an item's climb is shown."""
RANKED_EVER: Final = 100
"""Ten are shown; the others may climb among them within the hour."""


class Ranked(Struct, frozen=True):
    """One item of a ranking; `change` is by how many places it climbed within the hour."""

    item: str
    description: str | None
    items_sold: int
    net_revenue: str
    change: int | None


class DayFigures(Struct, frozen=True):
    """A day, or a part of one."""

    day: str
    events: int
    items_sold: int
    net_revenue_micros: int
    net_revenue: str


class Course(Struct, frozen=True):
    """How a day went, and the day before it, by quarter of an hour with purchases.

    Each is the minute of the local day at which it begins, events, items sold, net revenue in
    micros. Both are up to 30 seconds old; on large days up to twenty times as long as they take.
    """

    day: list[Group[int]] = []
    day_before: list[Group[int]] = []


class LastVerification(Struct, frozen=True):
    """When `verify` last ended, and whether it found everything in agreement."""

    finished_at: str
    agrees: bool


class Now(Struct, frozen=True, kw_only=True):
    """What the dashboard's view Now shows, as of one moment of the store.

    `day` is today in the deployment's zone, or the last day with purchases (`is_today` says which).
    `yesterday` and `last_week` go up to the same time of day. `buckets` are of ten seconds, oldest
    first: epoch second, events, net revenue in micros.
    """

    as_of: str
    timezone: str
    currency: str
    day: DayFigures
    is_today: bool
    yesterday: DayFigures
    last_week: DayFigures
    course: Course
    events: int
    items_sold: int
    net_revenue_micros: int
    net_revenue: str
    refused: int
    refused_share: float
    top_reason: str | None
    events_per_second: float
    bucket_seconds: int
    buckets: list[tuple[int, int, int]]
    popular_today: list[Ranked]
    popular_ever: list[Ranked]
    countries: list[tuple[str, int, str]]
    latest: list[queries.Purchase]
    verified: LastVerification | None


class Sampler:
    """Reads the store once per call of `sample`, from any thread, by the rows that are new."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sampling = Lock()
        self._reader: StoreReader | None = None
        self._window: Window | None = None
        self._row = 0
        self._corrections = 0
        self._described: dict[str, str] = {}
        self._ever: deque[dict[str, int]] = deque(maxlen=RANKS_KEPT)
        self._compared: tuple[RunningSums, RunningSums] = (RunningSums(), RunningSums())
        self._course = Course()
        self._course_day = ""
        self._quarters: dict[date, tuple[int, list[Group[int]]]] = {}
        self._compare_at = self._rank_at = 0.0
        self._seen: tuple[float, int] | None = None
        self._rate = 0.0

    def sample(self) -> Now:
        """Return the figures now. Raises `PurchasesError` if the store cannot be read."""
        # Two samples at once would add the same new rows twice.
        with self._sampling:
            try:
                if self._reader is None:
                    self._reader = open_reader(self._settings)
                with self._reader.snapshot() as store:
                    return self._read(store, datetime.now(self._settings.zone))
            except PurchasesError:
                # A restored backup may have taken the file's place, so it is opened again.
                self.close()
                raise

    def close(self) -> None:
        """Close the store; the next sample opens it and reads the whole day again."""
        if self._reader is not None:
            self._reader.close()
        self._reader = self._window = None

    def _read(self, store: StoreConnection, moment: datetime) -> Now:
        today = moment.date().isoformat()
        # In the early morning a day without purchases would show nothing but zeros.
        day = queries.last_day(store, today) or today
        window = self._advance_window(store, day, moment)
        # From the ledger, which all other readers of a day's figures ask too.
        sums = queries.day_sums(store, day) or RunningSums()
        live = live_figures(store)
        reasons = refusals(store)
        self._compare(store, moment, day)
        return Now(
            as_of=rfc_3339(moment.astimezone(UTC)),
            timezone=self._settings.timezone,
            currency=self._settings.currency,
            day=_figures(day, sums),
            is_today=day == today,
            yesterday=_figures(_before(moment, 1), self._compared[0]),
            last_week=_figures(_before(moment, 7), self._compared[1]),
            course=self._course,
            events=live.events,
            items_sold=live.items_sold,
            net_revenue_micros=live.net_revenue_micros,
            net_revenue=decimal_text(live.net_revenue_micros),
            refused=live.refused,
            refused_share=live.refused / max(live.refused + live.events, 1),
            top_reason=next(iter(reasons), None),
            events_per_second=self._events_per_second(live.events),
            bucket_seconds=BUCKET_SECONDS,
            buckets=_last_hour(window, moment.timestamp()),
            popular_today=self._popular_today(store, window),
            popular_ever=self._popular_ever(store),
            countries=[
                (name, sums.items_sold, decimal_text(sums.net_revenue_micros))
                for name, sums in window.countries.best(8)
                # Purchases without a country have the empty name.
                if name
            ],
            latest=queries.latest(store),
            verified=_read_last_verification(store),
        )

    def _advance_window(self, store: StoreConnection, day: str, moment: datetime) -> Window:
        """Bring the window up to the last row: by the new rows, or all for another day."""
        last = queries.last_row(store)
        span = queries.day_span(date.fromisoformat(day), self._settings.zone)
        since = (bucket_of(moment.timestamp()) - BUCKETS * BUCKET_SECONDS) * 1_000_000
        window, corrections = self._window, count_corrections(store)
        # New rows are added to the window, but a row that changed may be among the old ones.
        is_corrected, self._corrections = corrections != self._corrections, corrections
        # The last row is never deleted: a lower one means that a backup took the database's place.
        if window is None or window.day != day or last < self._row or is_corrected:
            window = self._window = Window(day)
            window.add_buckets(queries.recent_buckets(store, last, since))
            window.items.add(queries.groups_of_span(store, "item", last, span))
            window.countries.add(queries.groups_of_span(store, "country", last, span))
        elif last > self._row:
            window.add_buckets(queries.buckets(store, self._row, last, since))
            window.items.add(queries.groups(store, "item", self._row, last, span))
            window.countries.add(queries.groups(store, "country", self._row, last, span))
        self._row = last
        window.forget_before(moment.timestamp())
        if time.monotonic() >= self._rank_at:
            self._rank_at = time.monotonic() + RANK_SECONDS
            window.remember_ranks()
            top = top_items(store, RANKED_EVER)
            self._ever.append({figures.item: rank for rank, figures in enumerate(top, 1)})
        return window

    def _compare(self, store: StoreConnection, moment: datetime, day: str) -> None:
        """Sum the days that today is compared with, for at most a twentieth of the time."""
        # Around midnight the old day's course would be taken for the new one's.
        if time.monotonic() < self._compare_at and day == self._course_day:
            return
        started = time.monotonic()
        self._compared = (
            queries.sums_of_span(store, queries.same_time(moment, 1)),
            queries.sums_of_span(store, queries.same_time(moment, 7)),
        )
        shown = date.fromisoformat(day)
        self._course = Course(*self._courses_of(store, shown, shown - timedelta(days=1)))
        self._course_day = day
        took = time.monotonic() - started
        self._compare_at = time.monotonic() + max(COMPARE_SECONDS, COMPARE_SHARE * took)

    def _courses_of(self, store: StoreConnection, *days: date) -> list[list[Group[int]]]:
        """Sum days by quarter of an hour; one that did not change is not summed again."""
        kept = self._quarters
        versions = {day: queries.day_version(store, day) for day in days}
        self._quarters = {
            day: kept[day]
            if day in kept and kept[day][0] == version
            else (version, queries.sums_by_quarter(store, day, self._settings.zone))
            for day, version in versions.items()
        }
        return [self._quarters[day][1] for day in days]

    def _events_per_second(self, events: int) -> float:
        """Return the rate at which events are stored, smoothed over a few samples."""
        now = time.monotonic()
        # By the time between two samples, because a reader may come in between and sample too.
        if self._seen is not None and now > self._seen[0]:
            seconds = now - self._seen[0]
            rate = max(events - self._seen[1], 0) / seconds
            # Weighted by the seconds, so that it does not depend on how often somebody asks.
            self._rate += (rate - self._rate) * (1 - math.exp(-seconds / SMOOTH_SECONDS))
        self._seen = (now, events)
        return round(self._rate, 1)

    def _popular_today(self, store: StoreConnection, window: Window) -> list[Ranked]:
        top = window.items.best(10)
        self._describe(store, [item for item, _ in top])
        return [
            self._ranked_item(
                item, s.items_sold, s.net_revenue_micros, window.change_of_rank(item, rank)
            )
            for rank, (item, s) in enumerate(top, 1)
        ]

    def _popular_ever(self, store: StoreConnection) -> list[Ranked]:
        top = top_items(store, 10)
        self._describe(store, [figures.item for figures in top])
        # The oldest ranking that is kept: of an hour ago, or of the start if that is nearer.
        before = self._ever[0] if self._ever else {}
        return [
            self._ranked_item(
                f.item,
                f.items_sold,
                f.net_revenue_micros,
                before[f.item] - rank if f.item in before else None,
            )
            for rank, f in enumerate(top, 1)
        ]

    def _ranked_item(self, item: str, sold: int, micros: int, change: int | None) -> Ranked:
        described = self._described.get(item) or None
        return Ranked(item, described, sold, decimal_text(micros), change)

    def _describe(self, store: StoreConnection, items: list[str]) -> None:
        unknown = [item for item in items if item not in self._described]
        if unknown:
            # An item without any description must not be searched with every sample.
            self._described.update(dict.fromkeys(unknown, ""))
            self._described.update(queries.descriptions(store, unknown, self._row))


def _figures(day: str, sums: RunningSums) -> DayFigures:
    micros = sums.net_revenue_micros
    return DayFigures(day, sums.events, sums.items_sold, micros, decimal_text(micros))


def _before(moment: datetime, days: int) -> str:
    return (moment.date() - timedelta(days=days)).isoformat()


def _last_hour(window: Window, now: float) -> list[tuple[int, int, int]]:
    end = bucket_of(now)
    starts = range(end - (BUCKETS - 1) * BUCKET_SECONDS, end + 1, BUCKET_SECONDS)
    none = RunningSums()
    # Also those without purchases: the chart has a bar for every ten seconds.
    buckets = [(start, window.buckets.get(start, none)) for start in starts]
    return [(start, sums.events, sums.net_revenue_micros) for start, sums in buckets]


def _read_last_verification(store: StoreConnection) -> LastVerification | None:
    row = store.execute(
        "SELECT finished_at, agrees FROM verification ORDER BY id DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    return LastVerification(rfc_3339(datetime.fromtimestamp(row[0] / 1e6, UTC)), bool(row[1]))
