"""The clock goes over midnight and over a change of hour: every local day is closed, and whole."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from dagster import (
    DagsterInstance,
    DagsterRunStatus,
    RunRequest,
    ScheduleDefinition,
    build_schedule_context,
)
from dagster._utils.schedules import schedule_execution_time_iterator

from assets.builds.staleness import CLOSE_TIME, is_provisional, read_stale_partitions, stale_days
from assets.partitions import today
from assets.tables.calendar import HOUR, SECOND, day_window
from assets.tables.day_range import DayRange
from orchestration.automation.run_requests import seal_request
from orchestration.automation.schedules import (
    CLOSE,
    SEAL_MINUTE,
    daily_close_schedule,
    seal_schedule,
)
from orchestration.build import build_defs
from streaming.settings import Settings
from streaming.store.connection import StoreConnection
from tests.assets.event_store import store_events
from tests.databases import look
from tests.orchestration.test_run_sensors import start_run
from tests.store.rows import event, micros

EVE = date(2023, 12, 31)
CHANGES = {
    "UTC": ["2024-01-01", "2024-02-28"],
    "Europe/London": ["2024-03-30", "2024-10-26"],
    "America/Havana": ["2024-03-09", "2024-11-02"],
    "Australia/Lord_Howe": ["2024-04-06", "2024-10-05"],
}
"""The days before a year or a leap day begins, or the clocks change."""
LONDON = ZoneInfo("Europe/London")


def closes(settings: Settings, first: date, count: int) -> Iterator[datetime]:
    """Return when Dagster's scheduler closes a day, from a day's begin on, for so many days."""
    start, end = (
        datetime.combine(day, time(), settings.zone) for day in (first, first + timedelta(count))
    )
    times = schedule_execution_time_iterator(
        start.timestamp(), CLOSE, settings.timezone, ascending=True
    )
    return takewhile(lambda at: at < end, times)


def asked_at(schedule: ScheduleDefinition, at: datetime) -> RunRequest:
    """Return what the schedule asks for at a moment."""
    context = build_schedule_context(scheduled_execution_time=at.astimezone(UTC))
    (request,) = schedule.evaluate_tick(context).run_requests or ()
    return request


def days_asked(request: RunRequest) -> list[date]:
    """Return the first and the last day that a run is asked for."""
    tags = [f"dagster/asset_partition_range_{end}" for end in ("start", "end")]
    return [date.fromisoformat(request.tags[tag]) for tag in tags]


@pytest.mark.parametrize(
    ("zone", "first", "count"),
    [
        *((zone, date.fromisoformat(day), 4) for zone, days in CHANGES.items() for day in days),
        *(
            pytest.param(zone, date(2024, 1, 1), 366, marks=pytest.mark.faults, id=f"{zone}-year")
            for zone in CHANGES
        ),
    ],
)
def test_each_day_is_closed_once_when_it_is_over_and_final_then(
    zone: str, first: date, count: int
) -> None:
    """Also where clocks change over midnight, so that 00:15 is twice, or never."""
    settings = Settings(timezone=zone)
    schedule = daily_close_schedule(settings)
    closed = [(at, days_asked(asked_at(schedule, at))) for at in closes(settings, first, count)]
    days = [first + timedelta(number - 1) for number in range(count)]
    assert [asked for _, asked in closed] == [[day, day] for day in days]
    for at, (day, _) in closed:
        assert today(settings, at) == day + timedelta(1)
        closed_at = int(at.timestamp()) * SECOND
        assert is_provisional(day, closed_at - SECOND, settings.zone)
        assert not is_provisional(day, closed_at, settings.zone)


@pytest.mark.parametrize(
    ("day", "hours"), [(date(2024, 10, 27), 25), (date(2024, 3, 31), 23), (date(2024, 6, 1), 24)]
)
def test_the_close_builds_all_hours_of_a_day_and_none_of_its_neighbours(
    settings: Settings, instance: DagsterInstance, day: date, hours: int
) -> None:
    """In London, where clocks change; two events in each hour, and one on either side."""
    settings = settings.model_copy(update={"timezone": LONDON.key})
    first, end = day_window(day, LONDON)
    assert (end - first) // HOUR == hours
    store_events(settings, [event(n, first + n * HOUR // 2) for n in range(-1, 2 * hours + 1)])
    at = datetime.combine(day + timedelta(1), CLOSE_TIME, LONDON)
    request = asked_at(daily_close_schedule(settings), at)
    job = build_defs(settings).resolve_implicit_global_asset_job_def()
    keys = frozenset(request.asset_selection or ())
    checks = frozenset(request.asset_check_keys or ())
    subset = job.get_subset(asset_selection=keys, asset_check_selection=checks)
    done = subset.execute_in_process(
        instance=instance, tags=request.tags, run_config=request.run_config
    )
    assert done.success
    with look(settings) as connection:
        rows = connection.execute(
            "SELECT hour, events FROM hourly_sales WHERE day = ? ORDER BY hour", (day.isoformat(),)
        ).fetchall()
        assert rows == [(first + n * HOUR, 2) for n in range(hours)]
        left = stale_days(
            read_stale_partitions(connection, {}), DayRange(day, day + timedelta(1)), 0
        )
    assert list(left) == [day + timedelta(1)]


def test_at_local_midnight_tomorrow_becomes_a_day_to_build(
    store: Settings, connection: StoreConnection
) -> None:
    """An event that is early waits for its day, which begins in summer at 23:00 UTC."""
    settings = store.model_copy(update={"timezone": LONDON.key})
    store_events(store, [event(1, micros("2024-06-02 10:00"))])
    for minute, days in ((59, []), (60, [date(2024, 6, 2)])):
        now = datetime(2024, 6, 1, 22, tzinfo=UTC) + timedelta(minutes=minute)
        last = today(settings, now)
        assert (
            list(stale_days(read_stale_partitions(connection, {}), DayRange(EVE, last), 0)) == days
        )


def test_few_events_are_sealed_once_an_hour_and_many_at_once(
    settings: Settings, instance: DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past days at minute 20, a day that fills a file at each tick, and nothing without events."""
    schedule = seal_schedule(settings)
    ticks = [datetime(2024, 1, 2, 1, minute, tzinfo=UTC) for minute in (10, 20)]

    def count_requests() -> list[int]:
        contexts = [build_schedule_context(instance, scheduled_execution_time=at) for at in ticks]
        return [len(schedule.evaluate_tick(context).run_requests or ()) for context in contexts]

    assert count_requests() == [0, 0]
    store_events(settings, [event(1, micros("2024-01-02 00:30"))])
    assert count_requests() == [0, 0]
    store_events(settings, [event(2, micros("2024-01-01 12:00"))])
    assert count_requests() == [0, 1]
    for module in ("assets.builds.seal", "orchestration.automation.schedules"):
        monkeypatch.setattr(f"{module}.FILE_ROWS", 1)
    assert count_requests() == [1, 1]


def test_no_seal_is_requested_while_one_is_under_way(
    store: Settings, instance: DagsterInstance
) -> None:
    """It may wait for a long build, and one more each two minutes would take all slots."""
    store_events(store, [event(1, micros("2024-01-01 12:00"))])
    tick = datetime(2024, 1, 2, 1, SEAL_MINUTE, tzinfo=UTC)
    context = build_schedule_context(instance, scheduled_execution_time=tick)
    run = start_run(store, instance, DagsterRunStatus.STARTED, seal_request())
    asked = seal_schedule(store).evaluate_tick(context)
    assert (asked.run_requests, asked.skip_message) == ([], "A seal is under way.")
    instance.report_run_failed(run)
    assert len(seal_schedule(store).evaluate_tick(context).run_requests or ()) == 1
