"""The statements of docs/flink, run by Flink on the topics of a deployment."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.deployment import Deployment
from tests.docs.pages import ROOT
from tests.java_archive import OPTIONS
from tests.maven import fetch_files

HERE = Path(__file__).parent
STATEMENTS = ROOT / "docs" / "flink" / "analytics.sql"
DAY = 86_400_000
NOON = 1_700_049_600_000
"""Of 15 November 2023, in UTC, in ms."""
LATE, QUANTITY = 5, 2
USERS = 40
"""Enough that each partition has some: one that is empty would hold back the watermark of all."""
RunSql = Callable[[dict[str, str]], list[list[str]]]
"""Runs the statements, with some words replaced by others; returns the rows of each query."""

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of Flink: of PyPI, as uv caches it, and its Kafka connector."""
    target = tmp_path_factory.mktemp("flink")
    install = ["pip", "install", "--quiet", "--require-hashes", "--python", sys.executable]
    arguments = ["--target", str(target), "--requirement", str(HERE / "requirements.txt")]
    subprocess.run([ROOT / ".uv" / "bin" / "uv", *install, *arguments], check=True)
    jars = fetch_files(HERE / "jars.sha256")
    return os.pathsep.join([f"{target}/pyflink/lib/*", *map(str, jars)])


@pytest.fixture
def run_sql(classes: str, deployment: Deployment, tmp_path: Path) -> RunSql:
    """What runs the statements on the deployment's topic."""

    def run(changes: dict[str, str]) -> list[list[str]]:
        text = STATEMENTS.read_text()
        given = {
            "'127.0.0.1:9092'": f"'{deployment.bootstrap_servers}'",
            "'topic' = 'analytics'": f"'topic' = '{deployment.topic('analytics')}'",
        }
        for old, new in {**given, **changes}.items():
            assert old in text
            text = text.replace(old, new)
        file = tmp_path / "analytics.sql"
        file.write_text(text)
        program = str(HERE / "RunSql.java")
        done = subprocess.run(
            ["java", "-Xmx768m", "-XX:+UseSerialGC", "-cp", classes, program, str(file)],
            env={**os.environ, OPTIONS: ""},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4_000:]
        return [part.splitlines() for part in done.stdout.split("rows\n")[1:]]

    return run


@pytest.fixture
def sold(deployment: Deployment) -> dict[str, int]:
    """The figures of purchases of which five of each user come a day late, and one twice."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    days = [0] * 10 + [1] * 10 + [0] * LATE + [5]
    for number, day in enumerate([*days, 5]):
        for user in range(USERS):
            purchase = {
                # The last one of each user is sent again.
                "event_id": str(uuid.UUID(int=1 + user + USERS * min(number, len(days) - 1))),
                "user": f"user-{user}",
                "item": "lamp",
                "timestamp": NOON + day * DAY + number,
                "quantity": QUANTITY,
                "unit_price": "1.25",
            }
            producer.produce(
                deployment.topic("purchases"), json.dumps(purchase), str(purchase["user"])
            )
    assert producer.flush(60) == 0
    deployment.process()
    deployment.analyze()
    totals: dict[str, int] = json.loads(deployment.succeed("totals", "--json"))
    return totals


def items_by_day(rows: list[str]) -> dict[str, int]:
    """Read the rows of the second statement, such as `+I[2023-11-15T00:00, lamp, 20]`."""
    cells = [row.removeprefix("+I[").removesuffix("]").split(", ") for row in rows]
    return {start: int(items) for start, _, items in cells}


def test_flinks_figures_are_ours(run_sql: RunSql, sold: dict[str, int]) -> None:
    """Of all time and by day; its windows count duplicates, which the statement of totals skips."""
    totals, days = run_sql({})
    figures = [sold[name] for name in ("events", "items_sold", "net_revenue_micros")]
    assert totals[-1] == f"+U{figures}"
    assert items_by_day(days) == {
        "2023-11-15T00:00": QUANTITY * USERS * (10 + LATE),
        "2023-11-16T00:00": QUANTITY * USERS * 10,
        "2023-11-20T00:00": QUANTITY * USERS * 2,
    }


@pytest.mark.usefixtures("sold")
def test_a_window_drops_what_is_later_than_its_watermark_without_a_word(run_sql: RunSql) -> None:
    """With a watermark of a minute the late purchases are missing, and nothing says so."""
    _, days = run_sql(
        {
            "INTERVAL '2' DAY": "INTERVAL '1' MINUTE",
            # By default it depends on the machine's speed what is late.
            "'format' =": "'scan.watermark.emit.strategy' = 'on-event', 'format' =",
        }
    )
    # At least those of the partition whose second day closed the window of the first.
    assert items_by_day(days)["2023-11-15T00:00"] < QUANTITY * USERS * (10 + LATE)
