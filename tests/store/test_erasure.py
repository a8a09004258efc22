"""Erasing: the name is nowhere in the files, and every figure is the same."""

from contextlib import closing
from pathlib import Path

import pytest

from streaming.errors import NotFound, UsageError
from streaming.settings import Settings
from streaming.store import free_space
from streaming.store.backup import backup
from streaming.store.connection import StoreConnection, read_store, write_store
from streaming.store.dialect import list_tables
from streaming.store.erasure import ErasureResult, apply_again, erase
from streaming.store.live_totals import read_version
from streaming.store.move import move
from streaming.store.personal_data import read_personal_data
from streaming.store.preparation import prepare_store
from streaming.store.restore import restore
from streaming.store.sqlite import connect, snapshot
from streaming.system.home import Home
from streaming.verification.database_checks import check_days, check_items, check_totals
from tests.databases import parts_with
from tests.in_process import run_here
from tests.postgres import PostgresServer
from tests.store.rows import TOPIC_ID, event, fill, micros

ANNA = "anna@example.org"
NOON = micros("2024-03-01 12:00")
DAY = 86_400_000_000
FIGURES = (
    (
        "SELECT events, items_sold, gross_revenue_micros, net_revenue_micros, guest_events"
        " FROM live_totals"
    ),
    "SELECT * FROM live_item_totals ORDER BY item",
    "SELECT day, events, items_sold, net_revenue_micros FROM day_ledger ORDER BY day",
    'SELECT count(DISTINCT "user"), count(DISTINCT order_id), count(*) FROM analytics_event',
    (
        'SELECT event_time / 86400000000, item, count(DISTINCT "user"),'
        " count(DISTINCT order_id) FROM analytics_event GROUP BY 1, 2 ORDER BY 1, 2"
    ),
    "SELECT reason, count(*) FROM dead_letter WHERE state <> 'stored' GROUP BY 1",
)


@pytest.fixture
def shop(store: Settings, connection: StoreConnection) -> Settings:
    """Return a store with events of two users and a guest, who share order `both`."""
    rows = [
        event(0, NOON, user=ANNA, order_id="order-of-anna"),
        event(1, NOON + DAY, user=ANNA, order_id="both"),
        event(2, NOON + DAY, user="bert", order_id="both"),
        event(3, NOON + 2 * DAY, user="bert", order_id="order-of-bert"),
        event(4, NOON + 3 * DAY, user=None, order_id="order-of-a-guest"),
        event(5, NOON + 3 * DAY, user=ANNA, order_id=None),
    ]
    fill(store, connection, rows)
    dead_letters = [
        (ANNA, "quantity 0 is 0", "open"),
        ("order-of-anna", "", "redriven"),
        (None, f"user is of type array: ['{ANNA}']", "stored"),
        ("bert", "", "open"),
    ]
    for number, (key, detail, state) in enumerate(dead_letters):
        connection.execute(
            "INSERT INTO dead_letter VALUES"
            " (?, 0, ?, 'purchases', 0, 'wrong_type', ?, ?, 0, 1, 0, ?, ?, NULL)",
            (TOPIC_ID, number, detail, key, number, state),
        )
    return store


def figures(settings: Settings) -> list[list[tuple[object, ...]]]:
    """Return every figure that the store has."""
    with read_store(settings) as store:
        return [store.execute(statement).fetchall() for statement in FIGURES]


def files_with(settings: Settings, *names: str) -> list[str]:
    """Return where in the store, and of the erasures, one of the names is."""
    erasures = Home(settings.home).erasures
    listed = erasures.read_text() if erasures.exists() else ""
    left = [erasures.name] if any(name in listed for name in names) else []
    return [*parts_with(settings, *names), *left]


def erase_user(settings: Settings, user: str = ANNA) -> ErasureResult:
    """Erase a user."""
    return erase(settings, user, None, apply=True)


def test_the_name_is_in_no_file_and_every_figure_is_the_same(shop: Settings) -> None:
    """In events, dead letters, free pages and the WAL; also where an order is somebody else's."""
    before = figures(shop)
    result = erase_user(shop)
    assert result.is_overwritten is isinstance(shop.database, Path)
    assert files_with(shop, ANNA, "order-of-anna", "both") == []
    assert figures(shop) == before
    with read_store(shop) as store:
        users = store.execute('SELECT "user" FROM analytics_event ORDER BY event_id').fetchall()
        orders = store.execute("SELECT order_id FROM analytics_event ORDER BY event_id").fetchall()
    assert [user for (user,) in users[2:5]] == ["bert", "bert", None]
    assert len({users[0], users[1], users[5]}) == 1
    assert orders[1] == orders[2]
    assert [order for (order,) in orders[3:]] == ["order-of-bert", "order-of-a-guest", None]


def test_it_is_a_correction_with_a_row_as_proof(
    shop: Settings, connection: StoreConnection
) -> None:
    """Each event leaves a row, its day has a new version, and the totals agree with the events."""
    days = "SELECT day, version FROM day_ledger ORDER BY day"
    before = dict(connection.execute(days).fetchall())
    erasure = erase_user(shop).erasure
    after = dict(connection.execute(days).fetchall())
    assert {day for day in before if before[day] != after[day]} == {
        "2024-03-01",
        "2024-03-02",
        "2024-03-04",
    }
    with read_store(shop) as store:
        assert set(after.values()) - set(before.values()) == {read_version(store)}
        checks = [check_totals(store), check_items(store), check_days(store, shop.zone)]
    assert [check.differing for check in checks] == [0, 0, 0]
    corrections = connection.execute("SELECT kind, event_id, day FROM correction").fetchall()
    assert corrections == [
        ("erasure", f"id-{number:06d}", f"2024-03-0{day}")
        for number, day in ((0, 1), (1, 2), (2, 2), (5, 4))
    ]
    stored = connection.execute("SELECT * FROM erasure").fetchall()
    assert stored == [(erasure.id, erasure.erased_at, 1, 2, 4, 3, 3, 0)]


def test_dead_letters_are_dropped_as_erased(shop: Settings, connection: StoreConnection) -> None:
    """One whose purchase is stored stays so, and those of others stay as they are."""
    erase_user(shop)
    rows = connection.execute(
        "SELECT substr(key, 1, 7), detail, state, dropped_because FROM dead_letter"
        " ORDER BY origin_offset"
    ).fetchall()
    assert rows == [
        ("erased-", "erased", "dropped", "erased"),
        ("erased-", "erased", "dropped", "erased"),
        (None, "erased", "stored", None),
        ("bert", "", "open", None),
    ]


def test_a_dry_run_counts_the_same_and_changes_nothing(shop: Settings) -> None:
    """Neither the database nor the home."""
    before = content(shop)
    planned = erase(shop, ANNA, None, apply=False)
    assert content(shop) == before
    assert not Home(shop.home).erasures.exists()
    done = erase_user(shop)
    assert planned.erasure.events == done.erasure.events == 4
    assert planned.erasure.dead_letters == done.erasure.dead_letters == 3


def content(settings: Settings) -> dict[str, list[object]]:
    """Return the rows of every table."""
    with read_store(settings) as store:
        return {t: list(store.execute(f'SELECT * FROM "{t}"')) for t in list_tables(store)}


def test_an_order_of_a_guest_is_erased(shop: Settings) -> None:
    """That of a user too, who keeps the name; how many of those there are is said."""
    assert erase(shop, None, "order-of-a-guest", apply=True).with_user == 0
    assert erase(shop, None, "order-of-bert", apply=True).with_user == 1
    assert files_with(shop, "order-of-a-guest", "order-of-bert") == []
    assert files_with(shop, "bert") != []


def test_erasing_again_and_erasing_nobody(shop: Settings) -> None:
    """The same name is done already; an unknown one is a mistake, and a pseudonym too."""
    first = erase_user(shop)
    again = erase_user(shop)
    assert (first.is_new, again.is_new) == (True, False)
    assert again.is_overwritten is isinstance(shop.database, Path)
    with pytest.raises(NotFound, match="names the user nobody"):
        erase_user(shop, "nobody")
    with read_store(shop) as store:
        (pseudonym,) = store.execute(
            """SELECT "user" FROM analytics_event WHERE "user" LIKE 'erased-%'"""
        ).fetchone()
        assert store.execute("SELECT count(*) FROM erasure").fetchone() == (1,)
    with pytest.raises(UsageError, match="pseudonym already"):
        erase_user(shop, pseudonym)


def test_two_who_shared_an_order_are_erased_in_turn(shop: Settings) -> None:
    """The order has one pseudonym, and each figure stays through both."""
    before = figures(shop)
    erase_user(shop)
    erase_user(shop, "bert")
    assert figures(shop) == before
    assert files_with(shop, ANNA, "bert", "both") == []


@pytest.mark.sqlite("a file beside a server")
def test_the_same_is_erased_on_a_server(shop: Settings, postgres_server: PostgresServer) -> None:
    """Rows, dead letters, versions, and a table with a row that is of the pseudonym already."""
    name = postgres_server.create_database()
    there = shop.model_copy(update={"database_url": postgres_server.url(name)})
    move(shop, postgres_server.url(name))
    results = []
    for settings in (shop, there):
        exported = read_personal_data(settings, ANNA)
        assert not erase_user(settings).is_overwritten or settings is shop
        with write_store(settings) as store:
            (pseudonym,) = store.execute(
                'SELECT "user" FROM analytics_event WHERE order_id IS NULL'
            ).fetchone()
            store.execute(
                'CREATE TABLE note ("user" TEXT, day TEXT, text TEXT, PRIMARY KEY ("user", day))'
            )
            rows = [(ANNA, "1", "new"), (pseudonym, "1", "old"), (pseudonym, "2", "kept")]
            store.executemany("INSERT INTO note VALUES (?, ?, ?)", rows)
        assert erase_user(settings).is_new
        with read_store(settings) as store:
            tables = [
                sorted(map(repr, store.execute(f"SELECT {columns}").fetchall()))
                for columns in (
                    '"user", order_id, rowid FROM analytics_event',
                    "key, detail, state, dropped_because, origin_offset FROM dead_letter",
                    "day, version, events FROM day_ledger",
                    "kind, event_id, day FROM correction",
                    '"user", day, text FROM note',
                )
            ]
        assert [row.split(", ")[1:] for row in tables[-1]] == [
            ["'1'", "'new')"],
            ["'2'", "'kept')"],
        ]
        with pytest.raises(NotFound):
            read_personal_data(settings, ANNA)
        results.append((exported, tables))
    postgres_server.drop_database(name)
    assert results[0] == results[1]


@pytest.mark.sqlite("a backup of the file")
def test_a_restored_backup_is_erased_again(shop: Settings) -> None:
    """It is the same database as after the erasure, though the backup knew nothing of it."""
    copy = backup(shop)
    erase_user(shop)
    with read_store(shop) as store:
        erased = store.execute("SELECT * FROM analytics_event").fetchall()
        erasures = store.execute("SELECT * FROM erasure").fetchall()
    assert ANNA.encode() in copy.read_bytes()
    done = run_here("streaming", ("db", "restore", str(copy)), {"PURCHASES_HOME": str(shop.home)})
    assert done.returncode == 0, done.stderr
    again = [line for line in done.stdout.splitlines() if line.startswith("Erased again")]
    assert [str(erasures[0][0]) in line for line in again] == [True]
    assert files_with(shop, ANNA, "order-of-anna", "both") == []
    with read_store(shop) as store:
        assert store.execute("SELECT * FROM analytics_event").fetchall() == erased
        assert store.execute("SELECT * FROM erasure").fetchall() == erasures
    assert apply_again(shop) == []


@pytest.mark.sqlite("a backup of the file")
def test_a_database_put_there_by_hand_is_erased_at_the_next_start(
    shop: Settings, tmp_path: Path
) -> None:
    """So is one whose erasure was killed between the home's file and the commit."""
    new = shop.model_copy(update={"home": tmp_path / "new"})
    new.home.mkdir()
    backup(shop, new.database_path)
    erase_user(shop)
    listed = Home(shop.home).erasures.read_bytes()
    Home(new.home).erasures.write_bytes(listed)
    assert files_with(new, ANNA) == ["purchases.db"]
    prepare_store(new)
    assert files_with(new, ANNA, "order-of-anna", "both") == []


@pytest.mark.sqlite("the WAL of a file")
def test_a_reader_goes_on_meanwhile(shop: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its snapshot stays; that the WAL holds the name is said, and once it is over that is gone."""
    monkeypatch.setattr(free_space, "VACUUM_LOCK_SECONDS", 0.1)
    with closing(connect(shop.database_path, read_only=True)) as reader, snapshot(reader):
        named = reader.execute("SELECT count(*) FROM analytics_event WHERE user = ?", (ANNA,))
        assert named.fetchone() == (3,)
        result = erase_user(shop)
        named = reader.execute("SELECT count(*) FROM analytics_event WHERE user = ?", (ANNA,))
        assert named.fetchone() == (3,)
    assert (result.is_new, result.is_overwritten) == (True, False)
    assert erase_user(shop).is_overwritten
    assert files_with(shop, ANNA) == []


def test_what_is_stored_of_a_person_is_exported(shop: Settings) -> None:
    """Events, dead letters and tables with the user; nothing of others, and of nobody nothing."""
    data = read_personal_data(shop, ANNA)
    assert [row["order_id"] for row in data["analytics_event"]] == ["order-of-anna", "both", None]
    assert [row["amount"] for row in data["analytics_event"]] == ["2.50"] * 3
    assert [row["state"] for row in data["dead_letter"]] == ["open", "redriven", "stored"]
    assert data["customer_summary"] == []
    erase_user(shop)
    with pytest.raises(NotFound, match="Nothing that is stored names"):
        read_personal_data(shop, ANNA)


@pytest.mark.sqlite("a backup of the file")
@pytest.mark.parametrize("events", [2_000, pytest.param(1_000_000, marks=pytest.mark.faults)])
def test_one_customer_among_a_million_events(
    store: Settings, connection: StoreConnection, events: int
) -> None:
    """Erased, restored and erased again, with every figure the same."""
    rows = [
        event(
            number,
            NOON + number * 30_000_000,
            user=f"user-{number % 300}@example.org" if number % 4 else None,
            order_id=f"order-{number // 3}",
        )
        for number in range(events)
    ]
    fill(store, connection, rows)
    before = figures(store)
    copy = backup(store)
    result = erase(store, "user-17@example.org", None, apply=True)
    assert result.erasure.events >= events // 300
    assert files_with(store, "user-17@example.org") == []
    assert figures(store) == before
    restore(store, copy)
    assert files_with(store, "user-17@example.org") == []
    assert figures(store) == before
