"""What a fault did, judged by the oracle, and kept for the table at the end of the session."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from tests.deployment import Deployment
from tests.load import Load
from tests.oracle import require_exactly_once, wait_until_quiet
from tests.support import wait_until

COLUMNS = (
    "fault",
    "times",
    "acknowledged",
    "stored",
    "refused",
    "doubled",
    "lost",
    "worst recovery (s)",
)


@dataclass
class Injection:
    """A fault under load: what is sent meanwhile, and how long each recovery took (s)."""

    deployment: Deployment
    load: Load
    recoveries: list[float] = field(default_factory=list)

    def await_flow(self) -> None:
        """Wait until purchases flow from end to end."""
        before = self.deployment.count("analytics_event")
        wait_until(lambda: self.deployment.count("analytics_event") > before, 60, "nothing flows")

    def strike(self, fault: Callable[[], None], within: float) -> None:
        """Let the fault happen, and wait until what was processed after it is stored."""
        self.await_flow()
        fault()
        ended = time.time_ns() // 1000
        started = time.monotonic()
        wait_until(lambda: self._processed_after(ended), within, "it did not recover")
        self.recoveries.append(time.monotonic() - started)

    def _processed_after(self, micros: int) -> bool:
        latest = self.deployment.rows("SELECT max(processed_at) FROM analytics_event")[0][0]
        return latest is not None and int(str(latest)) > micros


@contextmanager
def inject_fault(
    deployment: Deployment,
    request: pytest.FixtureRequest,
    rate: float = 300,
    deadline: float = 180,
) -> Iterator[Injection]:
    """Run both apps under load; at the end judge by the oracle, and keep the row of the table."""
    deployment.succeed("db", "upgrade")
    with deployment.running("process"), deployment.running("analyze"):
        with Load(deployment, rate) as load:
            injection = Injection(deployment, load)
            yield injection
        wait_until_quiet(deployment, load.sent, deadline)
        deployment.succeed("verify")
        wait_until(lambda: lag(deployment) == 0, 60, "the lag is not back at 0")
    require_exactly_once(deployment, load.sent)
    require_no_names_in_logs(deployment)
    keep(request, deployment, len(load.sent.good) + len(load.sent.bad), injection.recoveries)


def require_no_names_in_logs(deployment: Deployment) -> None:
    """Whatever went wrong, no user and no item of the load is in a log."""
    for log in deployment.home.glob("*.log"):
        text = log.read_text()
        assert "user-" not in text, f"{log} names a user"
        assert "item-" not in text, f"{log} names an item"


def lag(deployment: Deployment) -> int | None:
    """Return the records that both apps have before them; None where the broker does not tell."""
    status = json.loads(deployment.run("status", "--json").stdout)
    lags = [app["lag_records"] for app in status["apps"]]
    return None if None in lags else sum(lags)


def keep(
    request: pytest.FixtureRequest,
    deployment: Deployment,
    acknowledged: int,
    recoveries: list[float],
) -> None:
    """Keep a row for the table; that none was doubled or lost the oracle has said before."""
    name = request.node.name.removeprefix("test_").replace("_", " ")
    worst = f"{max(recoveries):.1f}" if recoveries else ""
    row = (
        name,
        str(len(recoveries) or 1),
        f"{acknowledged:,}",
        f"{deployment.count('analytics_event'):,}",
        f"{deployment.count('dead_letter'):,}",
        "0",
        "0",
        worst,
    )
    request.node.user_properties.append(("fault", row))
