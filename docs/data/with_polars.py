# /// script
# requires-python = ">=3.11"
# dependencies = ["polars"]
# ///
"""The countries with most events, from the column files: `python with_polars.py HOME`."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import polars as pl

home = Path(sys.argv[1])
with closing(
    sqlite3.connect(f"{(home / 'purchases.db').resolve().as_uri()}?mode=ro", uri=True)
) as db:
    listed = db.execute("SELECT name FROM column_file_readable ORDER BY name")
    files = [home / "columns" / name for (name,) in listed]

events = pl.scan_parquet(files, hive_partitioning=False)
countries = events.group_by(pl.col("country").fill_null("")).agg(
    events=pl.len(), net_revenue=pl.col("amount_micros").sum() / 1e6
)
print(countries.sort("events", descending=True).head(5).collect())
