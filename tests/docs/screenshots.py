"""`make screenshots`: the demonstration, photographed for the README and the docs."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from itertools import product
from pathlib import Path

from tests.browser import Scheme, browser

IMAGES = Path(__file__).parents[2] / "docs" / "images"
VIEWS = ("now", "history", "stream", "rejected", "sql", "verified")
WIDTHS = {
    "phone-": (360, 800),
    "tablet-": (768, 1024),
    "": (1400, 1000),
    "wall-": (2560, 1400),
}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
DAGSTER = {
    "dagster-graph": "/asset-groups",
    "dagster-partitions": "/assets/daily_sales?view=partitions",
    "dagster-automation": "/automation",
}
STORED = 541_907
READY_SECONDS = 900
DRAWN_MILLISECONDS = 5_000
DAGSTER_MILLISECONDS = 20_000
"""Its UI asks for the state of each asset and sensor one after another."""


def main() -> None:
    """Run the demonstration in a scratch home, and take every picture."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix="purchases-screenshots-"))
    environment = {**os.environ, "PURCHASES_HOME": str(home)}
    command = [sys.executable, "-c", "from orchestration.cli.main import run; run()"]
    with (home / "up.log").open("wb") as log:
        up = subprocess.Popen([*command, "up", "--demo"], env=environment, stdout=log, stderr=log)
    try:
        page = _wait_until_built(home)
        subprocess.run([*command, "verify"], env=environment, check=True)
        for view, scheme, (name, size) in product(VIEWS, SCHEMES, WIDTHS.items()):
            _shoot(f"{page}/#{view}", f"page-{view}-{name}{scheme}", scheme, *size)
        port = (home / "dagster" / "webserver.port").read_text().strip()
        for name, path in DAGSTER.items():
            url = f"http://127.0.0.1:{port}{path}"
            _shoot(url, name, "light", 1400, 900, DAGSTER_MILLISECONDS)
    finally:
        up.terminate()
        up.wait(20)


def _wait_until_built(home: Path) -> str:
    """Wait until the year is stored and all its days are built; return the dashboard's address.

    Today is behind now and then, because purchases of today keep coming.
    """
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        time.sleep(1)
        try:
            address = f"http://127.0.0.1:{(home / 'dashboard.port').read_text().strip()}"
            with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:  # noqa: S310
                figures = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines())
        except (OSError, ValueError):
            continue
        stored = float(figures.get("purchases_stored_events_total", 0))
        behind = float(figures.get("purchases_daily_partitions_behind", "inf"))
        if stored > STORED and behind <= 1:
            return address
    raise TimeoutError(f"the year was not stored and built in {READY_SECONDS} s")


def _shoot(  # noqa: PLR0913, PLR0917 - what a picture is of
    url: str,
    name: str,
    scheme: Scheme,
    width: int,
    height: int,
    milliseconds: int = DRAWN_MILLISECONDS,
) -> None:
    with browser(url, scheme, width, height) as (page, _, _):
        page.wait_for_timeout(milliseconds)
        page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
