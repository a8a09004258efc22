"""What a shop sells into its outbox, and the comparison of both ends."""

import json
import uuid

import psycopg

from tests.deployment import Deployment

SUMS = """SELECT count(*), sum(quantity), sum(amount_micros), count(DISTINCT "user")
    FROM analytics_event"""


def purchase(number: int) -> dict[str, object]:
    """Return a purchase as a shop writes it: one in ten is a return, one in seven has no price."""
    priced = {} if number % 7 == 0 else {"unit_price": "1.25"}
    return {
        "event_id": str(uuid.uuid4()),
        "user": f"user-{number % 50}",
        "item": f"item-{number % 20}",
        "timestamp": 1_700_000_000_000 + number,
        "quantity": -1 if number % 10 == 0 else 1 + number % 4,
        **priced,
    }


def sell(shop: psycopg.Connection, purchases: list[dict[str, object]]) -> None:
    """Write purchases into the outbox, in one transaction."""
    with shop.transaction(), shop.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO outbox (aggregateid, payload) VALUES (%s, %s)",
            [(str(each["user"]), json.dumps(each)) for each in purchases],
        )


def count_arrived(shop: psycopg.Connection) -> int:
    """Return how many events the sink has written."""
    there = shop.execute("SELECT to_regclass('analytics_event') IS NOT NULL").fetchone()
    if there != (True,):
        return 0
    row = shop.execute("SELECT count(*) FROM analytics_event").fetchone()
    return int(row[0]) if row else 0


def require_agreement(deployment: Deployment, shop: psycopg.Connection, events: int) -> None:
    """Assert that the sink's table, the store and what was sold agree to the last micro."""
    totals = json.loads(deployment.succeed("totals", "--json"))
    names = ("events", "items_sold", "net_revenue_micros", "customers")
    assert shop.execute(SUMS).fetchone() == tuple(totals[name] for name in names)
    assert totals["events"] == events
    assert totals["refused"] == 0
    deployment.succeed("verify")
