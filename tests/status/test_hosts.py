"""Several hosts: each reports its workers to the database, and each reads the same of all."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from streaming.apps import ANALYTICS, APPS, PROCESSOR, worker_name
from streaming.errors import NotFound, PurchasesError, UsageError
from streaming.runtime.counters import RecentRecords
from streaming.runtime.status_file import WorkerStatus, replace_json
from streaming.settings import Settings
from streaming.status.collect import collect_status
from streaming.status.hosts import (
    LOST_SECONDS,
    forget_host,
    host_status,
    read_app_of_hosts,
    report_app,
    require_free_name,
)
from streaming.status.model import SlotStatus, Status
from streaming.store.connection import connect
from streaming.store.host_status import open_host_statuses, record_host_status
from streaming.system.home import Home
from streaming.system.lease import acquire, holder
from tests.deployment import Deployment
from tests.support import wait_until


def host(settings: Settings, name: str, **more: object) -> Settings:
    """Return the settings of one of several hosts on the same database; nobody is at its Kafka."""
    home = settings.home.parent / name
    changed = {"home": home, "host": name, "bootstrap_servers": "127.0.0.1:9", **more}
    return settings.model_copy(update=changed)


def work(settings: Settings, records: int) -> None:
    """Write the status file of a processor's worker, which has refused a record of one sender."""
    path = Home(settings.home).worker_lease("processor", 0)
    pid = holder(path)
    recent = RecentRecords(records=records, refused=1, reasons={"not_json": 1}, keys={"ann": 1})
    status = WorkerStatus("processor", 0, pid or 0, "running", records=records, recent=recent)
    status.updated_at = status.started_at = time.time()
    replace_json(Home(settings.home).worker_status("processor", 0), status)


def report(settings: Settings, *, is_ended: bool = False) -> bool:
    """Report both apps once."""
    with open_host_statuses(settings) as connection:
        return all(
            record_host_status(
                connection, host_status(settings, app, is_ended=is_ended), LOST_SECONDS
            )
            for app in APPS
        )


def age(settings: Settings, name: str) -> None:
    """Let nothing have been heard of a host for as long as a lost one is silent."""
    with closing(connect(settings.database)) as connection:
        connection.execute(
            "UPDATE host_status SET heard_at = heard_at - ? WHERE host = ?",
            (int((LOST_SECONDS + 5) * 1e6), name),
        )


def seen_by(settings: Settings) -> Status:
    """Return the status that a host shows, without what differs from moment to moment."""
    return collect_status(settings, {})


def slots_of(status: Status) -> dict[str, SlotStatus]:
    """Return all slots by the names of their workers."""
    return {slot.name: slot for app in status.apps for slot in app.slots}


def codes(status: Status) -> set[str]:
    """Return the codes of the problems, without those of the broker, which is not there."""
    return {problem.code for problem in status.problems} - {"broker_down"}


def test_each_host_shows_all_of_them(postgres_settings: Settings) -> None:
    """The same figures everywhere, and no key of a record, which a database would keep."""
    north, south = host(postgres_settings, "north"), host(postgres_settings, "south")
    leases = [acquire(Home(each.home).worker_lease("processor", 0)) for each in (north, south)]
    work(north, 100)
    work(south, 40)
    assert report(north)
    assert report(south)
    seen = [seen_by(each) for each in (north, south)]
    for status in seen:
        slots = slots_of(status)
        assert slots["processor-north-0"].records_in == 100
        assert slots["processor-south-0"].records_in == 40
        assert status.refusals.refused == 2
        assert status.refusals.top_key is None
    assert seen[0].apps == seen[1].apps
    assert read_app_of_hosts(south, PROCESSOR)[0].slots == seen[0].apps[0].slots
    rows = connect(north.database).execute("SELECT * FROM host_status").fetchall()
    assert "ann" not in str(rows)
    assert all(leases)


def test_a_host_that_died_is_told_from_one_that_ended(postgres_settings: Settings) -> None:
    """Its slots are lost, with the time of the last word; who ended in order is no problem."""
    north, south = host(postgres_settings, "north"), host(postgres_settings, "south")
    lease = acquire(Home(north.home).worker_lease("processor", 0))
    work(north, 100)
    report(north)
    report(south, is_ended=True)
    age(south, "south")
    status = seen_by(north)
    assert slots_of(status)["processor-south-0"].state == "stopped"
    assert status.apps[0].state == "running"
    assert codes(status) == {"analytics_stopped"}

    report(south)
    age(south, "south")
    status = seen_by(north)
    lost = slots_of(status)["processor-south-0"]
    assert lost.state == status.apps[0].state == "lost"
    assert lost.detail.startswith("nothing was heard since 20")
    assert codes(status) == {"analytics_stopped", "host_lost"}
    (problem,) = [one for one in status.problems if one.code == "host_lost"]
    assert "Of the host south nothing was heard since" in problem.sentence
    assert slots_of(status)["processor-north-0"].records_in == 100
    assert lease


def test_two_hosts_that_live_have_two_names(postgres_settings: Settings) -> None:
    """The second is refused in one sentence; the name of one that died or ended is free."""
    first = host(postgres_settings, "north")
    second = first.model_copy(update={"home": first.home.parent / "other"})
    assert report(first)
    assert not report(second)
    require_free_name(first, seconds=0)
    taken = r"HOST is 'north', but so is the name of .*/north, which runs: give each host"
    with pytest.raises(UsageError, match=taken):
        require_free_name(second, seconds=0)
    with report_app(second, ANALYTICS) as require_own_name:
        wait_until(lambda: _is_refused(require_own_name), 60, "it was not refused")
    age(first, "north")
    require_free_name(second, seconds=0)
    assert report(second, is_ended=True)
    assert report(first)


def _is_refused(require_own_name: Callable[[], None]) -> bool:
    try:
        require_own_name()
    except UsageError:
        return True
    return False


def test_a_host_without_a_name_reports_nothing(postgres_settings: Settings) -> None:
    """One host has its files, whatever its database."""
    before = threading.active_count()
    with report_app(postgres_settings, PROCESSOR):
        assert threading.active_count() == before
    assert connect(postgres_settings.database).execute("SELECT * FROM host_status").fetchall() == []
    assert worker_name("processor", postgres_settings.host, 0) == "processor-0"


def test_a_host_that_is_gone_is_forgotten_and_one_that_lives_is_not(
    postgres_settings: Settings,
) -> None:
    """Lost or ended, nobody shows it any longer; it is no problem, and may come back."""
    north, south = host(postgres_settings, "north"), host(postgres_settings, "south")
    report(north)
    report(south)
    with pytest.raises(PurchasesError, match=r"The host south runs, in .*/south: stop it there"):
        forget_host(north, "south")
    age(south, "south")
    # One app of it that lives is enough.
    with open_host_statuses(south) as connection:
        record_host_status(connection, host_status(south, ANALYTICS), LOST_SECONDS)
    with pytest.raises(PurchasesError, match="The host south runs"):
        forget_host(north, "south")
    report(north)
    assert "host_lost" in codes(seen_by(north))
    age(south, "south")
    url = {"PURCHASES_DATABASE_URL": str(postgres_settings.database_url)}
    command = Deployment(north.home, "127.0.0.1:9", "", url)
    (problem,) = [one for one in seen_by(north).problems if one.code == "host_lost"]
    assert "`purchases forget-host south`" in problem.remedy
    assert command.succeed("forget-host", "south") == "OK: the host south is forgotten.\n"
    assert {slot.host for slot in slots_of(seen_by(north)).values()} == {"north"}
    assert "host_lost" not in codes(seen_by(north))
    with pytest.raises(NotFound, match=r"no host 'south' in the database .*; there are: north\."):
        forget_host(north, "south")
    assert command.run("forget-host", "south").returncode == 2
    report(south, is_ended=True)
    assert {slot.host for slot in slots_of(seen_by(north)).values()} == {"north", "south"}
    forget_host(north, "south")


def test_the_one_host_of_a_file_has_no_other_to_forget(tmp_path: Path) -> None:
    """It is said before a file is looked for."""
    with pytest.raises(UsageError, match=r"purchases\.db, which is of this host alone"):
        forget_host(Settings(home=tmp_path), "south")
