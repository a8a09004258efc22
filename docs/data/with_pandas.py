# /// script
# requires-python = ">=3.11"
# dependencies = ["pandas==3.1.1"]
# ///
"""The net revenue of the last days, and its mean over a week: `uv run with_pandas.py FILE`."""

import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pandas as pd

SQL = "SELECT day, events, net_revenue_micros / 1e6 AS net_revenue FROM day_ledger ORDER BY day"

address = f"{Path(sys.argv[1]).absolute().as_uri()}?mode=ro"
with closing(sqlite3.connect(address, uri=True)) as store:
    days = pd.read_sql(SQL, store, parse_dates=["day"], index_col="day").asfreq("D", fill_value=0)
days["week_mean"] = days["net_revenue"].rolling(7, min_periods=1).mean()
print(days.tail(10))
