"""The example year, as recorded, gives exactly the published figures (examples/README.md)."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.support import wait_until

EXAMPLE = Path(__file__).parents[2] / "examples" / "online_retail.parquet"
REFUSED_AMOUNT = Decimal("-11062.06")
PUBLISHED_NET_REVENUE = Decimal("9747747.934")
PUBLISHED_MONTHS = {
    "2010-12": 748_957_020_000,
    "2011-09": 1_019_687_622_000,
    "2011-10": 1_070_704_670_000,
    "2011-11": 1_461_756_250_000,
    "2011-12": 433_668_010_000,
}


@pytest.mark.timeout(300)
def test_the_example_year_gives_the_published_totals(deployment: Deployment) -> None:
    """The published net revenue includes two bad-debt lines of -11,062.06, which are refused."""
    deployment.succeed("replay", str(EXAMPLE), "--as-recorded", "--speed", "max")
    deployment.succeed("process", "--until-caught-up", timeout=200)
    deployment.succeed("analyze", "--until-caught-up", timeout=200)
    totals = {}

    def told_with_lag() -> bool:
        """A busy broker may not say the lag in time."""
        nonlocal totals
        totals = json.loads(deployment.succeed("totals", "--json"))
        return totals["lag_records"] is not None

    wait_until(told_with_lag, 60, "the lag stays unknown")
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
    assert totals["lag_records"] == 0
    months = deployment.rows(
        "SELECT substr(day, 1, 7), sum(net_revenue_micros) FROM day_ledger GROUP BY 1"
    )
    assert set(PUBLISHED_MONTHS.items()) <= set(months)
    reasons = deployment.rows("SELECT reason, count(*) FROM dead_letter GROUP BY reason")
    assert reasons == [("invalid_price", 2)]
    deployment.succeed("verify")
