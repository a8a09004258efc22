"""A home of a released version, opened by today's code: `data/home-0.1.0` was written by 0.1.0."""

import gzip
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from assets.builds.staleness import read_stale_partitions
from streaming.kafka.names import Names
from streaming.runtime.status_file import read_status
from streaming.store.connection import SCHEMA_VERSION, read_store
from streaming.store.deployment import recorded_deployment
from streaming.store.rebuild import rebuild
from streaming.verification.database_checks import (
    check_days,
    check_items,
    check_positions,
    check_totals,
)
from tests.deployment import Deployment

pytestmark = pytest.mark.sqlite("that release stored into a file only")

RELEASED = Path(__file__).parent / "data" / "home-0.1.0"
ZONE = "Europe/London"


@pytest.fixture
def upgraded(tmp_path: Path) -> Deployment:
    """Return a copy of the released home, after `db upgrade`."""
    home = tmp_path / "home"
    shutil.copytree(RELEASED / "workers", home / "workers")
    packed = (RELEASED / "purchases.db.gz").read_bytes()
    (home / "purchases.db").write_bytes(gzip.decompress(packed))
    deployment = Deployment(home, "127.0.0.1:1", "shop", {"PURCHASES_TIMEZONE": ZONE})
    deployment.succeed("db", "upgrade")
    return deployment


def test_the_schema_is_todays_and_nothing_is_lost(upgraded: Deployment) -> None:
    """Every table has the rows that the release wrote, under the schema of this code."""
    tables = ("analytics_event", "dead_letter", "day_ledger", "table_build", "verification")
    with closing(sqlite3.connect(upgraded.home / "purchases.db")) as store:
        rows = {t: store.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in tables}
        version = store.execute("SELECT version_num FROM alembic_version").fetchone()
    assert list(rows.values()) == [295, 15, 3, 14, 1]
    assert int(version[0]) == SCHEMA_VERSION


def test_the_totals_are_those_that_the_release_printed(upgraded: Deployment) -> None:
    """Each figure is the same; the lag is unknown without the topics."""
    printed = json.loads(upgraded.succeed("totals", "--json"))
    expected = json.loads((RELEASED / "totals.json").read_text())
    assert {name: printed[name] for name in expected} == expected
    assert printed["lag_records"] is None


def test_the_database_checks_agree(upgraded: Deployment) -> None:
    """What the release counted is what today's verification counts, and no build is stale."""
    settings = upgraded.settings.model_copy(update={"timezone": ZONE})
    names = Names.of(settings)
    with read_store(settings) as store:
        deployment = recorded_deployment(store)
        assert deployment is not None
        group = names.analytics_group(deployment.deployment_id)
        checks = [
            check_totals(store),
            check_items(store),
            check_days(store, ZoneInfo(deployment.timezone)),
            check_positions(store, group, names.analytics),
        ]
        assert [check.examples for check in checks] == [[], [], [], []]
        assert [check.compared for check in checks] == [1, 152, 3, 4]
        assert read_stale_partitions(store, {}) == []
    done = rebuild(settings)
    assert (done.events, done.changed_days, done.changed_items) == (295, 0, 0)


def test_the_dead_letters_can_be_listed(upgraded: Deployment) -> None:
    """The two that were dropped keep why, and the others are open."""
    listing = json.loads(upgraded.succeed("dlq", "list", "--json"))
    states = [row["state"] for row in listing["dead_letters"]]
    assert (states.count("open"), states.count("dropped")) == (13, 2)


def test_the_status_files_are_read(upgraded: Deployment) -> None:
    """What the workers of the release said last is no obstacle to those of today."""
    for app in ("processor", "analytics"):
        status = read_status(upgraded.home, app, 0)
        assert status is not None
        assert (status.state, status.records) == ("stopped", 310)
