"""The sink of docs/connect into an Iceberg table, whose files are read without it."""

import json
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from tests.connect.worker import Worker, running_connect
from tests.deployment import Deployment
from tests.maven import fetch_files
from tests.support import wait_until

FETCHED = Path(__file__).with_name("iceberg.sha256")
CONTROL = "control-iceberg"

pytestmark = pytest.mark.faults


@pytest.fixture
def into_iceberg(worker: Worker, deployment: Deployment, tmp_path: Path) -> Worker:
    """A worker that runs this sink alone, with its warehouse in the test's directory."""
    directory = tmp_path / "connect"
    plugin = directory / "plugins" / "iceberg"
    plugin.mkdir(parents=True)
    for jar in fetch_files(FETCHED):
        (plugin / jar.name).symlink_to(jar)
    # Hadoop, through which it writes files, does not run on the Java of the other tests yet.
    java = shutil.which("java")
    assert java is not None
    changes = {
        "topics": deployment.topic("analytics"),
        "iceberg.control.topic": deployment.topic(CONTROL),
        "iceberg.control.commit.interval-ms": "2000",
    }
    environment = {**worker.environment, "WAREHOUSE": f"file://{tmp_path}/warehouse"}
    connectors = {"analytics-to-iceberg": changes}
    return Worker(worker.jars, directory, environment, connectors, Path(java))


def count_committed(shop: psycopg.Connection) -> int:
    """Return how many rows the table has by its catalog, which is in the shop's database."""
    if shop.execute("SELECT to_regclass('iceberg_tables')").fetchone() == (None,):
        return 0
    row = shop.execute("SELECT metadata_location FROM iceberg_tables").fetchone()
    metadata = {} if row is None else json.loads(Path(urlsplit(row[0]).path).read_text())
    snapshots = metadata.get("snapshots", [])
    return int(snapshots[-1]["summary"]["total-records"]) if snapshots else 0


def test_what_is_in_iceberg_is_what_is_stored(
    into_iceberg: Worker, deployment: Deployment, shop: psycopg.Connection, tmp_path: Path
) -> None:
    """Its rows, items and revenue are those of `purchases totals`."""
    admin = AdminClient({"bootstrap.servers": deployment.bootstrap_servers})
    topic = NewTopic(deployment.topic(CONTROL), num_partitions=1, replication_factor=1)
    for created in admin.create_topics([topic]).values():
        created.result(60)
    deployment.succeed("produce", "--count", "500", "--rate", "max", "--seed", "1")
    deployment.process()
    deployment.analyze()
    totals = json.loads(deployment.succeed("totals", "--json"))
    with running_connect(into_iceberg):
        wait_until(lambda: count_committed(shop) == totals["events"], 120, "not all committed")
    rows = pl.read_parquet(tmp_path / "warehouse" / "**" / "*.parquet")
    sums = rows["quantity"].sum(), rows["amount_micros"].sum()
    assert len(rows) == rows["event_id"].n_unique() == totals["events"]
    assert sums == (totals["items_sold"], totals["net_revenue_micros"])
