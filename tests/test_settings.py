"""Settings are refused where what is set could not be used later."""

from datetime import datetime
from importlib.resources import files

import polars as pl
import pytest
from pydantic import ValidationError

from streaming.settings import Settings

ODD_ZONES = ["posix/Europe/London", "right/UTC", "localtime", "Factory", "posixrules", "tzdata.zi"]


@pytest.mark.parametrize("name", [*ODD_ZONES, "", "Europe", "europe/london", "../UTC", "Mars/Base"])
def test_a_zone_that_only_some_hosts_have_is_refused(name: str) -> None:
    """Recorded at a first start it would be there for good, and a replay could not read it."""
    with pytest.raises(ValidationError):
        Settings(timezone=name)


def test_every_zone_of_the_database_is_known_to_all_that_read_times() -> None:
    """To the settings, to the standard library and to polars."""
    names = [name for name in (files("tzdata") / "zones").read_text().split() if name != "Factory"]
    naive = pl.Series([datetime(2024, 3, 15, 12)])
    assert len(names) > 500
    for name in names:
        zone = Settings(timezone=name).zone
        assert naive.dt.replace_time_zone(name).dt.epoch("ms")[0] == int(
            datetime(2024, 3, 15, 12, tzinfo=zone).timestamp() * 1000
        )
