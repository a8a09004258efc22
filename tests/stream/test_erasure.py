"""A customer is erased from a whole stream, and whatever is read again does not bring the name."""

import json
import random
import uuid
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streaming.errors import Mismatch
from streaming.events.identifiers import event_id_text
from streaming.system.home import Home
from streaming.verification.verify import verify
from tests.databases import copy_store, parts_with
from tests.deployment import Deployment
from tests.support import Broker, wait_until

ANNA, ORDER = "anna@example.org", "order-of-anna"
FIGURES = (
    (
        "SELECT events, items_sold, gross_revenue_micros, net_revenue_micros, guest_events"
        " FROM live_totals"
    ),
    "SELECT * FROM live_item_totals ORDER BY item",
    "SELECT day, events, items_sold, net_revenue_micros FROM day_ledger ORDER BY day",
    'SELECT count(DISTINCT "user"), count(DISTINCT order_id) FROM analytics_event',
    'SELECT item, count(DISTINCT "user"), count(DISTINCT order_id) FROM analytics_event GROUP BY 1',
    "SELECT reason, count(*) FROM dead_letter WHERE state <> 'stored' GROUP BY 1",
)
ROWS = (
    "SELECT * FROM analytics_event ORDER BY event_id",
    "SELECT * FROM dead_letter ORDER BY 1, 2, 3",
)

IMPORT = (
    *("replay", "examples/my_sales.csv", "--map", "user=customer", "--map", "item=article"),
    *("--map", "timestamp=sold_at", "--map", "quantity=pieces", "--map", "unit_price=price"),
    *("--map", "order_id=receipt", "--map", "country=country"),
)


def purchase(chance: random.Random, number: int) -> tuple[bytes | None, bytes]:
    """Return key and value of a purchase; some are refused, and orders are shared."""
    user = chance.choice([ANNA, "bert", "carl", None])
    order = ORDER if number % 50 == 0 else f"order-{chance.randrange(60)}"
    event = {
        "event_id": str(uuid.UUID(int=number)),
        "user": [user] if number % 37 == 36 else user,
        "item": f"item-{chance.randrange(9)}",
        "timestamp": f"2024-03-{chance.randrange(1, 29):02d}T10:15:00Z",
        "quantity": chance.choice([1, 2, 3, -1, 0 if number % 10 == 9 else 1]),
        "unit_price": "2.50",
        "order_id": order,
    }
    key = None if number % 37 == 36 else (user or order).encode()
    return key, json.dumps(event).encode()


def send(deployment: Deployment, numbers: range) -> None:
    """Send purchases; the same number is the same purchase."""
    producer = Producer({"bootstrap.servers": deployment.bootstrap_servers})
    for number in numbers:
        key, value = purchase(random.Random(number), number)
        producer.produce(deployment.topic("purchases"), value, key)
    assert producer.flush(60) == 0


def stock(deployment: Deployment) -> Deployment:
    """Store 400 purchases of three customers and guests."""
    deployment.create_topics()
    send(deployment, range(400))
    deployment.process()
    deployment.analyze()
    return deployment


@pytest.fixture
def shop(deployment: Deployment) -> Deployment:
    """Return a deployment of this test's own."""
    return stock(deployment)


@pytest.fixture(scope="module")
def stocked(broker: Broker, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Return a deployment whose topics several tests read."""
    home = tmp_path_factory.mktemp("stocked")
    return stock(Deployment(home, broker.bootstrap_servers, f"e{uuid.uuid4().hex[:10]}"))


@pytest.fixture
def erased(stocked: Deployment, tmp_path: Path) -> Deployment:
    """Return a copy of it with a home of its own, of which a customer was erased."""
    copy = replace(stocked, home=tmp_path)
    copy_store(stocked.settings, copy.settings)
    copy.succeed("erase", "--user", ANNA, "--yes")
    return copy


def read(deployment: Deployment, statements: tuple[str, ...]) -> list[list[tuple[object, ...]]]:
    """Return the rows of each statement."""
    return [deployment.rows(statement) for statement in statements]


def differences(deployment: Deployment) -> list[str]:
    """Return what `verify` finds."""
    return verify(deployment.settings, lambda _what, _done, _total: None).examples


def test_what_is_read_again_stays_erased(shop: Deployment, tmp_path: Path) -> None:
    """Topics read again, by this database and by a new one, and the same purchases sent again."""
    before = read(shop, FIGURES)
    assert "Dry run: " in shop.succeed("erase", "--user", ANNA)
    assert read(shop, FIGURES) == before
    printed = shop.succeed("erase", "--user", ANNA, "--yes")
    assert printed.startswith("OK: erased ")
    assert ANNA not in printed
    for name in ("purchases", "purchases.redrive", "analytics", "purchases.dlq"):
        assert f"The topic {shop.topic(name)} holds what was written until now until " in printed
    assert parts_with(shop.settings, ANNA, ORDER) == []
    assert read(shop, FIGURES) == before
    assert differences(shop) == []
    erased = read(shop, ROWS)

    shop.succeed("offsets", "reset", "analytics", "--to", "earliest", "--yes")
    shop.analyze()
    assert read(shop, ROWS) == erased

    new = replace(shop, home=tmp_path / "new")
    new.home.mkdir()
    Home(new.home).erasures.write_bytes(Home(shop.home).erasures.read_bytes())
    new.analyze()
    assert [len(rows) for rows in read(new, ROWS)] == [len(rows) for rows in erased]
    assert read(new, FIGURES) == before

    send(shop, range(400))
    shop.process()
    shop.analyze()
    assert read(shop, FIGURES[:-1]) == before[:-1]
    for each in (shop, new):
        assert parts_with(each.settings, ANNA, ORDER) == []
        assert differences(each) == []


def test_a_file_that_is_imported_again_brings_no_name_back(deployment: Deployment) -> None:
    """Although its checkpoint is gone, so that each of its rows is sent again."""
    deployment.create_topics()

    def import_file() -> list[list[tuple[object, ...]]]:
        assert "1 of them will be refused" in deployment.run(*IMPORT).stderr
        deployment.process()
        deployment.analyze()
        # Its refused row is a dead letter more.
        return read(deployment, FIGURES[:-1])

    before = import_file()
    deployment.succeed("erase", "--user", "ada", "--yes")
    for checkpoint in (deployment.home / "replays").glob("*.json"):
        checkpoint.unlink()
    assert import_file() == before
    assert deployment.rows("""SELECT count(*) FROM analytics_event WHERE "user" = 'ada'""") == [
        (0,)
    ]
    assert parts_with(deployment.settings, "R-1001", "R-1005") == []
    assert differences(deployment) == []


def test_a_running_consumer_takes_the_erasure(shop: Deployment) -> None:
    """Purchases that come later are stored under the same pseudonym, and the log names nobody."""
    shop.succeed("erase", "--user", ANNA, "--yes")
    customers = 'SELECT count(DISTINCT "user") FROM analytics_event'
    (before,) = shop.rows(customers)
    stored = shop.count("analytics_event")
    with shop.running("analyze"):
        send(shop, range(400, 500))
        shop.process()
        wait_until(lambda: shop.count("analytics_event") > stored, 60, "nothing is stored")
        shop.succeed("erase", "--user", "bert", "--yes")
        send(shop, range(500, 600))
        shop.process()
    shop.analyze()
    assert shop.rows(customers) == [before]
    assert parts_with(shop.settings, ANNA) == []
    assert shop.rows("""SELECT count(*) FROM analytics_event WHERE "user" = 'bert'""") == [(0,)]
    log = (shop.home / "analyze.log").read_text()
    assert [name for name in (ANNA, "bert", ORDER, "item-") if name in log] == []
    assert differences(shop) == []


def test_a_dead_letter_of_the_erased_is_not_sent_again(erased: Deployment) -> None:
    """Though the topic holds its value with the name, and somebody asks for it by force."""
    everything = ("--state", "open", "--state", "dropped", "--force", "--yes", "--json")
    result = json.loads(erased.succeed("dlq", "redrive", *everything))
    assert result["left"]["erased"] > 0
    sent = erased.read_topic("purchases.redrive")
    assert len(sent) == sum(result["outcomes"].values()) > 0
    named = [m for m in sent if ANNA.encode() in (m.value() or b"") + (m.key() or b"")]
    assert named == []


def test_verify_finds_a_name_that_was_not_erased(erased: Deployment) -> None:
    """By code of its own: in a row that was stored past the consumer."""
    with erased.writing() as store:
        (event_id,) = store.execute(
            """SELECT event_id FROM analytics_event WHERE "user" LIKE 'erased-%' LIMIT 1"""
        ).fetchone()
        store.execute('UPDATE analytics_event SET "user" = ? WHERE event_id = ?', (ANNA, event_id))
    named = differences(erased)
    assert len(named) == 2
    assert any(
        f"The event {event_id_text(event_id)} has a user that was erased" in one for one in named
    )
    assert ANNA not in "".join(named)


def test_verify_needs_the_list_of_the_home_that_erased(erased: Deployment) -> None:
    """Without it, each event of the erased would look as if it was changed."""
    Home(erased.home).erasures.unlink()
    done = erased.run("verify")
    assert done.returncode == 1
    assert "Copy it from the home that erased them" in done.stderr


@pytest.mark.faults
def test_a_consumer_without_the_list_stops(erased: Deployment) -> None:
    """It does not store the name again, and says which file it needs."""
    erased.succeed("offsets", "reset", "analytics", "--to", "earliest", "--yes")
    Home(erased.home).erasures.unlink()
    with pytest.raises(Mismatch, match="from the home that erased"):
        erased.analyze()
    assert parts_with(erased.settings, ANNA) == []


def test_a_persons_data_is_handed_out(stocked: Deployment, tmp_path: Path) -> None:
    """As JSON or CSV, to a file or to the terminal; the same rows in both."""
    data = json.loads(stocked.succeed("export-customer", ANNA))
    assert data["user"] == ANNA
    assert {row["user"] for row in data["analytics_event"]} == {ANNA}
    assert len(data["dead_letter"]) > 0
    output = tmp_path / "anna.csv"
    printed = stocked.succeed("export-customer", ANNA, "--format", "csv", "--output", str(output))
    rows = len(data["analytics_event"]) + len(data["dead_letter"])
    assert printed == f"{output} has {rows:,} rows.\n"
    assert len(output.read_text().splitlines()) == rows + 1
    assert stocked.run("export-customer", "nobody").returncode == 2
    assert stocked.run("export-customer", ANNA, "--format", "xml").returncode == 2
