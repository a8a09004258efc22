# /// script
# requires-python = ">=3.11"
# dependencies = ["duckdb==1.4.4", "duckdb-ext==0.1.2", "duckdb-ext-sqlite==1.4.4.20260205"]
# ///
"""The purchases of each country and month: `uv run with_duckdb.py FILE`."""

import sys

import duckdb
import duckdb_ext

SQL = """
SELECT coalesce(country, '') AS country, date_trunc('month', make_timestamp(event_time)) AS month,
  count(*) AS events, sum(amount_micros) / 1e6 AS net_revenue
FROM purchases.analytics_event GROUP BY ALL ORDER BY events DESC LIMIT 5
"""

with duckdb_ext.init(duckdb.connect()) as database:
    file = sys.argv[1].replace("'", "''")
    database.sql(f"ATTACH '{file}' AS purchases (TYPE sqlite, READ_ONLY)")
    print(database.sql(SQL))
