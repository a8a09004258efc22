# /// script
# requires-python = ">=3.11"
# dependencies = ["polars", "psycopg[binary]"]
# ///
"""The countries with most events, from the column files that a PostgreSQL server lists.

`python with_polars_on_postgresql.py COLUMNS`, with the directory `columns` of the home or the URL
of the bucket. `PURCHASES_DATABASE_URL` names the server.
"""

import os
import sys

import polars as pl
import psycopg

columns = sys.argv[1].rstrip("/")
address = os.environ["PURCHASES_DATABASE_URL"].replace("postgresql+psycopg:", "postgresql:", 1)
with psycopg.connect(address) as server:
    listed = server.execute("SELECT name FROM column_file_readable ORDER BY name")
    files = [f"{columns}/{name}" for (name,) in listed]

events = pl.scan_parquet(files, hive_partitioning=False)
countries = events.group_by(pl.col("country").fill_null("")).agg(
    events=pl.len(), net_revenue=pl.col("amount_micros").sum() / 1e6
)
print(countries.sort("events", descending=True).head(5).collect())
