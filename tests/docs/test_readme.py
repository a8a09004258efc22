"""README's commands, followed from nothing, give exactly the figures that it promises."""

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.docs.pages import follow, new_home
from tests.in_process import run_here

REFUSED_AMOUNT = Decimal("-11062.06")
PUBLISHED_NET_REVENUE = Decimal("9747747.934")
PUBLISHED_MONTHS = {
    "2010-12": 748_957_020_000,
    "2011-09": 1_019_687_622_000,
    "2011-10": 1_070_704_670_000,
    "2011-11": 1_461_756_250_000,
    "2011-12": 433_668_010_000,
}


@pytest.fixture
def environment(jars: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """A home in which nothing has run yet."""
    with new_home(jars, tmp_path) as environment:
        yield environment


@pytest.mark.timeout(900)
def test_the_commands_of_the_readme_give_the_published_totals(environment: dict[str, str]) -> None:
    """The published net revenue includes two bad-debt lines of -11,062.06, which are refused."""
    follow("README.md", environment)
    done = run_here("streaming", ("totals", "--json"), environment)
    assert done.returncode == 0, done.stderr
    totals = json.loads(done.stdout)
    assert totals["events"] == 541_907
    assert totals["refused"] == 2
    assert totals["items_sold"] == 5_176_448
    assert Decimal(totals["net_revenue"]) == Decimal("9769872.054")
    assert Decimal(totals["net_revenue"]) + 2 * REFUSED_AMOUNT == PUBLISHED_NET_REVENUE
    assert totals["customers"] == 4_372
    assert totals["orders"] == 25_898
    assert totals["guest_events"] == 135_078
    assert totals["most_popular_item"]["item"] == "22197"
    assert totals["most_popular_item"]["items_sold"] == 56_450
    home = Deployment(Path(environment["PURCHASES_HOME"]), "", "")
    months = home.rows(
        "SELECT substr(CAST(day AS TEXT), 1, 7), sum(net_revenue_micros) FROM day_ledger GROUP BY 1"
    )
    assert set(PUBLISHED_MONTHS.items()) <= set(months)
    counts = "SELECT count(DISTINCT item), count(DISTINCT country), count(*) - count(description)"
    assert home.rows(f"{counts} FROM analytics_event") == [(4_070, 38, 1_454)]
    refused = home.rows("SELECT reason, detail FROM dead_letter")
    assert [reason for reason, _ in refused] == ["invalid_price"] * 2
    assert all(str(REFUSED_AMOUNT) in str(detail) for _, detail in refused)
