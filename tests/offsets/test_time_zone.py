"""The change of the time zone: all or nothing, refused while something runs, and proven."""

import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from confluent_kafka import TopicPartition as PartitionOffset
from confluent_kafka.admin import AdminClient
from sqlalchemy import Engine

from streaming.analytics import app as analytics
from streaming.apps import ANALYTICS
from streaming.errors import Mismatch
from streaming.events.record import TopicPartition
from streaming.kafka.config import Config
from streaming.kafka.offsets import committed_offsets
from streaming.kafka.recorded_settings import settings_in
from streaming.settings import PROJECT, Settings
from streaming.store.deployment import DeploymentInfo, ensure_deployment
from streaming.system.home import Home
from streaming.system.lease import acquire
from tests.databases import allow_updates, refuse_updates
from tests.deployment import Deployment

ZONE = "Asia/Kolkata"
"""Half an hour beside the hours of UTC: other hours, and other days."""
CHANGE = ("db", "rebuild", "--timezone", ZONE)
COMMAND = f"`purchases db rebuild --timezone {ZONE}`"


def change_zone(deployment: Deployment) -> Deployment:
    """Return the deployment with the new setting."""
    return replace(deployment, more={"PURCHASES_TIMEZONE": ZONE})


def refusal(deployment: Deployment, *arguments: str) -> str:
    """Return what a command that must fail with 1 says."""
    done = deployment.run(*arguments)
    assert done.returncode == 1, done.stdout
    return done.stderr


def read_offsets(deployment: Deployment) -> dict[TopicPartition, PartitionOffset]:
    """Return the processor's committed offsets on `purchases`."""
    common: Config = {"bootstrap.servers": deployment.bootstrap_servers}
    topic = deployment.topic("purchases")
    partitions = AdminClient(common).list_topics(timeout=60).topics[topic].partitions
    group = deployment.topic("purchase-processor")
    return committed_offsets(common, group, [(topic, n) for n in partitions], 30)


def zones(deployment: Deployment) -> set[str]:
    """Return the time zones that the processor's offsets and the database record."""
    recorded = (settings_in(offset.metadata) for offset in read_offsets(deployment).values())
    rows = deployment.rows("SELECT timezone FROM deployment")
    return {each.timezone for each in recorded if each} | {str(zone) for (zone,) in rows}


def days(deployment: Deployment) -> Counter[str]:
    """Count the stored events by day of the ledger, without days of none."""
    rows = deployment.rows("SELECT day, events FROM day_ledger WHERE events > 0")
    return Counter({str(day): int(str(events)) for day, events in rows})


def days_of_events(deployment: Deployment, zone: str) -> Counter[str]:
    """Count the stored events by their day in a zone."""
    rows = deployment.rows("SELECT event_time FROM analytics_event")
    times = (int(str(micros)) / 1_000_000 for (micros,) in rows)
    return Counter(str(datetime.fromtimestamp(time, ZoneInfo(zone)).date()) for time in times)


@pytest.fixture
def filled(deployment: Deployment) -> Deployment:
    """Return a deployment with 300 purchases of two days, stored."""
    deployment.succeed(
        *("produce", "--rate", "max", "--count", "300", "--seed", "1"),
        *("--start", "2024-03-01T18:25:00"),
    )
    deployment.process()
    deployment.analyze()
    assert days(deployment) == days_of_events(deployment, "UTC")
    return deployment


def test_a_change_that_is_cut_off_is_refused_on_both_sides_and_goes_on(filled: Deployment) -> None:
    """Between Kafka and the database each zone is refused by one of them, naming the command."""
    before, offsets = days(filled), read_offsets(filled)
    with filled.writing() as store:
        refuse_updates(store, "deployment")
    assert "stop" in refusal(filled, *CHANGE)
    assert (zones(filled), days(filled)) == ({ZONE, "UTC"}, before)
    assert COMMAND in refusal(change_zone(filled), "analyze", "--until-caught-up")
    assert f"TIMEZONE={ZONE}, or change it" in refusal(filled, "process", "--until-caught-up")
    with filled.writing() as store:
        allow_updates(store, "deployment")
    said = filled.succeed(*CHANGE)
    assert f"OK: 300 events are cut in days of {ZONE}" in said
    assert f"Set PURCHASES_TIMEZONE={ZONE} on all hosts" in said
    assert zones(filled) == {ZONE}
    assert days(filled) == days_of_events(filled, ZONE) != before
    assert {at: each.offset for at, each in read_offsets(filled).items()} == {
        at: each.offset for at, each in offsets.items()
    }
    after = change_zone(filled)
    after.succeed("produce", "--rate", "max", "--count", "10", "--start", "2024-03-01T18:29:00")
    after.process()
    after.analyze()
    after.succeed("verify")
    assert days(after) == days_of_events(after, ZONE)


def test_a_consumer_of_another_host_stops(
    filled: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that began before the change cuts no day in the old zone, and says why."""

    def change_after(engine: Engine, settings: Settings) -> DeploymentInfo:
        recorded = ensure_deployment(engine, settings)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE deployment SET timezone = ?", (ZONE,))
        return recorded

    filled.succeed("produce", "--rate", "max", "--count", "10")
    filled.process()
    monkeypatch.setattr(analytics, "ensure_deployment", change_after)
    with pytest.raises(Mismatch, match=f"was started with {ZONE}: set PURCHASES_TIMEZONE={ZONE}"):
        filled.analyze()
    assert filled.count("analytics_event") == 300


@pytest.mark.faults
def test_a_change_that_is_killed_leaves_whole_days(filled: Deployment) -> None:
    """Wherever SIGKILL meets it, the days are those of one zone, and the next one goes on."""
    command = [sys.executable, "-m", "streaming", *CHANGE]
    for tenths in range(4, 24, 2):
        with subprocess.Popen(command, env=filled.environment, cwd=PROJECT) as change:
            time.sleep(tenths / 10)
            change.kill()
        ((zone,),) = filled.rows("SELECT timezone FROM deployment")
        assert days(filled) == days_of_events(filled, str(zone))
    filled.succeed(*CHANGE)
    assert zones(filled) == {ZONE}
    change_zone(filled).succeed("verify")


def test_what_cannot_be_changed_is_refused_before_anything_is(deployment: Deployment) -> None:
    """A zone that there is not, a home without a database, and one in which something runs."""
    assert "must be an IANA time zone" in deployment.run("db", "rebuild", "--timezone", "x").stderr
    assert "does not exist: if nothing is stored yet" in deployment.run(*CHANGE).stderr
    deployment.succeed("db", "upgrade")
    home = Home(deployment.home)
    for lease in (home.up_lease, home.worker_lease(ANALYTICS.name, 0), home.write_lease):
        held = acquire(lease)
        assert held is not None
        with held:
            assert "`purchases down`" in refusal(deployment, *CHANGE)
    assert not home.backups.exists()
