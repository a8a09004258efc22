"""More of the largest sales that may be allowed than 64 bits add up: sent, stored, built, read."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

from confluent_kafka import Producer

from tests.dashboard.server import get, serve_dashboard
from tests.deployment import Deployment

SALES, RETURNS = 9_300, 30
LARGEST = 10**9


def test_more_of_the_largest_sales_than_64_bits_hold(deployment: Deployment) -> None:
    """All are stored beside an honest one; totals, `verify`, the day, history and export agree."""
    shop = deployment.whole()
    shop.more["PURCHASES_MAX_AMOUNT"] = str(LARGEST)
    time = datetime.now(UTC) - timedelta(days=1)
    producer = Producer({"bootstrap.servers": shop.bootstrap_servers})
    for number in range(SALES + RETURNS + 1):
        purchase = {
            "user": "mallory",
            "item": "gold",
            "timestamp": time.isoformat(),
            "unit_price": LARGEST,
            "quantity": 1 if number < SALES else -1,
        }
        honest = {"user": "ada", "item": "lamp", "unit_price": "2.50", "quantity": 1}
        sent = purchase if number < SALES + RETURNS else {**purchase, **honest}
        producer.produce(shop.topic("purchases"), json.dumps(sent))
    assert producer.flush(60) == 0
    shop.process()
    shop.analyze()
    net, gross = (SALES - RETURNS) * LARGEST, SALES * LARGEST
    totals = json.loads(shop.succeed("totals", "--json"))
    assert (totals["events"], totals["net_revenue"]) == (SALES + RETURNS + 1, f"{net + 2}.50")
    assert totals["gross_revenue_micros"] == gross * 10**6 + 2_500_000
    assert totals["most_popular_item"]["item"] == "gold"
    shop.succeed("verify")
    day = time.date().isoformat()
    shop.succeed("backfill", "--from", day, "--to", day)
    with serve_dashboard(shop) as base:
        days = get(f"{base}/api/v1/days?from={day}&to={day}")
        items = get(f"{base}/api/v1/items?from={day}&to={day}&order=net_revenue")
    assert [point["net_revenue"] for point in days["points"]] == [f"{net + 2}.50"]
    assert [(r["name"], r["net_revenue"]) for r in items["ranked"]] == [
        ("gold", f"{net}.00"),
        ("lamp", "2.50"),
    ]
    (row,) = csv.DictReader(io.StringIO(shop.succeed("export", "daily_sales")))
    whole = int(row["net_revenue_trillions"]) * 10**18 + int(row["net_revenue_micros"])
    assert whole == net * 10**6 + 2_500_000
