"""Days whose money is beyond 64 bits: built, checked, read and exported as exactly as any other."""

import json
from dataclasses import replace
from datetime import date

from assets.builds.builder import open_builder
from assets.checks import reconciliation
from assets.checks.finding import CheckContext
from assets.queries.export import export_chunks
from assets.queries.file_formats import Format
from assets.queries.sales import read_customers, read_days, read_hours, read_ranking, read_sum
from assets.tables.day_range import DayRange
from assets.tables.models import WHOLE
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from streaming.events.fields import MAX_AMOUNT_MICROS
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, read_store
from streaming.units import decimal_text
from tests.assets.event_store import store_events
from tests.store.rows import event, micros

SOLD, HONEST = 9_300, 5_000_000
DAYS = DayRange(date(2024, 3, 1), date(2024, 3, 2))


def test_a_day_of_the_largest_sales_and_a_day_of_their_returns(
    store: Settings, connection: StoreConnection
) -> None:
    """Both are built beside honest sales; every reader gives the whole sums, ranked as such."""
    sale = replace(event(0, micros("2024-03-01 12:00")), amount_micros=MAX_AMOUNT_MICROS)
    back = replace(event(0, micros("2024-03-02 12:00"), -1), amount_micros=-MAX_AMOUNT_MICROS)
    hostile = [replace(sale, event_id=f"sale {n}", stream_offset=n) for n in range(SOLD)]
    store_events(store, hostile)
    honest = event(0, micros("2024-03-01 13:00"), 2, item="book", user="bert")
    store_events(store, [replace(honest, stream_offset=SOLD)])
    returned = [
        replace(back, event_id=f"back {n}", stream_offset=SOLD + 1 + n) for n in range(2 * SOLD)
    ]
    store_events(store, returned)
    with open_builder(store, "run") as builder:
        outcomes = [builder.build(day.isoformat(), DAY_TRANSFORMS) for day in DAYS.list_days()]
        outcomes.append(builder.build(WHOLE, WHOLE_TRANSFORMS))
    assert [o.failure for built in outcomes for o in built] == [None] * 10
    gross, back_net = SOLD * MAX_AMOUNT_MICROS, -2 * SOLD * MAX_AMOUNT_MICROS
    net = HONEST - gross
    with read_store(store) as reader:
        points = read_days(reader, "daily_sales", DAYS)
        assert [p.net_revenue_micros for p in points] == [gross + HONEST, back_net]
        assert [p.net_revenue_micros for p in read_hours(reader, DAYS)] == [gross, HONEST, back_net]
        total = read_sum(reader, "daily_item_sales", DAYS)
        assert (total.gross_revenue_micros, total.net_revenue_micros) == (gross + HONEST, net)
        assert total.net_revenue == decimal_text(net)
        for order in ("items_sold", "net_revenue"):
            _, ranked = read_ranking(reader, DAYS, "item", order, "descending", slice(0, 5))
            assert [(r.name, r.net_revenue_micros) for r in ranked] == [
                ("book", HONEST),
                ("lamp", net - HONEST),
            ]
        _, ranked = read_ranking(reader, DAYS, "item", "gross_revenue", "descending", slice(0, 5))
        assert [(r.name, r.gross_revenue_micros) for r in ranked] == [
            ("lamp", gross),
            ("book", HONEST),
        ]
        customers = read_customers(reader, "net_revenue", "descending", 5, 0)
        assert [(c.user, c.net_revenue, c.monetary_score) for c in customers] == [
            ("bert", "5.00", 3),
            ("anna", decimal_text(net - HONEST), 1),
        ]
    context = CheckContext(store, micros("2024-03-03 12:00"))
    for transform in (*DAY_TRANSFORMS, *WHOLE_TRANSFORMS):
        for check in (reconciliation.check_parity, reconciliation.check_unchanged):
            assert check(connection, context, transform).passed, (check, transform.table)
    assert reconciliation.check_recomputed(connection, context).passed
    view = "SELECT net_revenue FROM daily_sales_readable ORDER BY day"
    assert [text for (text,) in connection.execute(view)] == [p.net_revenue for p in points]
    chunks = export_chunks(store, "daily_sales", None, None, Format.JSONL)
    rows = [json.loads(line) for line in b"".join(chunks).splitlines()]
    assert [r["net_revenue_trillions"] * 10**18 + r["net_revenue_micros"] for r in rows] == [
        p.net_revenue_micros for p in points
    ]
