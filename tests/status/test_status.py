"""`status` over a real deployment: broker, workers, database."""

import json
import signal
import subprocess
import sys
from contextlib import closing
from typing import Any

from tests.dashboard.server import send
from tests.deployment import Deployment
from tests.support import wait_until


def read(deployment: Deployment) -> tuple[int, dict[str, Any]]:
    """Run `status --json`; give its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "streaming", "status", "--json"],
        env=deployment.environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.stdout, done.stderr
    status: dict[str, Any] = json.loads(done.stdout)
    return done.returncode, status


def codes(status: dict[str, Any]) -> set[str]:
    """Return the codes of what is wrong."""
    return {problem["code"] for problem in status["problems"]}


def test_the_status_follows_a_deployment_from_nothing_to_work_and_refusals(
    deployment: Deployment,
) -> None:
    """Unhealthy before it runs, healthy when all is stored, and it names what is refused."""
    code, status = read(deployment)
    assert code == 1
    assert {"processor_stopped", "analytics_stopped"} <= codes(status)

    with deployment.running("process"), deployment.running("analyze"):
        deployment.run("produce", "--count", "400", "--rate", "max")

        def has_settled() -> bool:
            nonlocal code, status
            code, status = read(deployment)
            out = [app["slots"][0]["records_out"] for app in status["apps"]]
            return code == 0 and [*out, status["database"]["events"]] == [400] * 3

        wait_until(has_settled, 60, "never healthy")
        assert [app["state"] for app in status["apps"]] == ["caught_up", "caught_up"]
        assert {p["lag_records"] for p in status["partitions"]} == {0}
        assert sum(p["position"] for p in status["partitions"] if p["app"] == "processor") == 400
        processor, analytics = (app["slots"][0] for app in status["apps"])
        assert processor["records_in"] == analytics["records_in"] == 400
        assert processor["pid"] == deployment.worker_pid("processor")
        assert processor["restarts"] == 0
        assert status["disk"]["free_bytes"] > 0

        deployment.run("produce", "--count", "200", "--rate", "max", "--bad-share", "0.5")

        def refusing() -> bool:
            nonlocal status
            _, status = read(deployment)
            stored = status["database"]["refused"] == status["refusals"]["refused"]
            return stored and codes(status) == {"refusals"}

        wait_until(refusing, 60, "the refusals are not named")
        assert status["refusals"]["exceeded"]
        assert status["refusals"]["top_reason"]


def test_a_field_that_is_none_is_counted_with_what_was_meant(deployment: Deployment) -> None:
    """A till that sends `price` is accepted without prices, and the status says what is wrong."""
    with deployment.running("process"), deployment.running("analyze"):
        send(deployment, *["lamp"] * 3, price=2, **{"\x1b[2J": None})
        send(deployment, "lamp", unit_price=2)
        status: dict[str, Any] = {}

        def has_counted() -> bool:
            nonlocal status
            _, status = read(deployment)
            counted = [status["prices"]["purchases"], status["database"]["events"]]
            return status["healthy"] and counted == [4, 4]

        wait_until(has_counted, 60, "never counted")
        assert status["prices"] == {"purchases": 4, "without_price": 3, "share": 0.75}
        assert status["unknown_fields"] == [
            {"name": "price", "purchases": 3, "meant": "unit_price"},
            {"name": "\\x1b[2J", "purchases": 3, "meant": None},
        ]
        text = " ".join(deployment.run("status").stdout.split())
        assert "75.00% of 4 purchases" in text
        assert "`price`, sent 3 times, is no field; did you mean `unit_price`?" in text


def test_a_watched_status_comes_again_and_again_until_ctrl_c(deployment: Deployment) -> None:
    """Each figure is read again: the second shows what has happened since the first."""
    watching = subprocess.Popen(
        [sys.executable, "-m", "streaming", "status", "--json", "--watch"],
        env=deployment.environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    with closing(watching.stdout) as printed:
        first = json.loads(printed.readline())
        deployment.succeed("db", "upgrade")
        states = (json.loads(line)["database"]["state"] for line in printed)
        assert first["database"]["state"] == "unreadable"
        assert "ok" in states
        watching.send_signal(signal.SIGINT)
        assert watching.wait(120) == 0
