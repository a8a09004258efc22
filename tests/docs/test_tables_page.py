"""The pages about the tables: the columns are the models', and the example is a table."""

import os
import re
import subprocess
import sys
from pathlib import Path

from assets.tables.models import DAY_TABLE_NAMES, WHOLE_TABLE_NAMES
from assets.tables.transforms import DAY_TRANSFORMS, WHOLE_TRANSFORMS
from tests.assets.table_reference import reference
from tests.databases import store_variables

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "tables.md"
HOW_TO = ROOT / "docs" / "how-to" / "add-an-aggregate-table.md"
FOLLOW = """
import sys
from alembic.migration import MigrationContext
from alembic.operations import Operations
from assets.builds.builder import open_builder
from assets.checks.finding import CheckContext
from assets.checks.reconciliation import check_parity, check_unchanged
from streaming.settings import Settings
from streaming.store.connection import connect
from tests.assets.event_store import open_store, store_events
from tests.store.rows import year_of_days

settings = Settings(home=sys.argv[1])
with open_store(settings) as engine, engine.begin() as connection:
    with Operations.context(MigrationContext.configure(connection)):
        upgrade()
store_events(settings, year_of_days(3))
with open_builder(settings, "run") as builder:
    outcomes = builder.build("2024-01-02", [TRANSFORM])
assert [(o.computed, o.failure) for o in outcomes] == [(True, None)], outcomes
connection = connect(settings.database)
rows = connection.execute("SELECT * FROM daily_line_sales_readable").fetchall()
assert rows == [("2024-01-02", 2, 1, "5.00")], rows
for check in (check_parity, check_unchanged):
    assert check(connection, CheckContext(settings, 0), TRANSFORM).passed
"""


def test_the_columns_are_the_models() -> None:
    """`python -m tests.assets.table_reference` writes the end of the page."""
    assert PAGE.read_text().endswith(reference())


def test_a_table_is_added_as_the_page_says(tmp_path: Path) -> None:
    """In under 60 lines: after its migration it is built, audited and checked like the others."""
    text, home = HOW_TO.read_text(), tmp_path / "home"
    example = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)[0]
    assert len(example.splitlines()) < 60
    done = subprocess.run(
        [sys.executable, "-c", example + FOLLOW, str(home)],
        env={**os.environ, **store_variables(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_every_table_has_its_transform() -> None:
    """What is compared for staleness is what is built."""
    assert tuple(transform.table for transform in DAY_TRANSFORMS) == DAY_TABLE_NAMES
    assert tuple(transform.table for transform in WHOLE_TRANSFORMS) == WHOLE_TABLE_NAMES
