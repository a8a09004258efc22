"""`doctor`, `logs` and `reset`: what they find, and what they leave alone."""

import json
from dataclasses import replace

from streaming.cli.logs import last_lines, new_lines
from streaming.system.home import Home
from streaming.system.log_rotation import rotate
from tests.deployment import Deployment
from tests.support import wait_until


def test_doctor_finds_what_is_wrong_before_anything_runs(deployment: Deployment) -> None:
    """Each check says what it found; a missing topic and a taken port come with their remedy."""

    def states() -> dict[str, str]:
        checks = json.loads(deployment.succeed("doctor", "--json"))["checks"]
        return {check["name"]: check["state"] for check in checks}

    assert states().keys() >= {"home", "disk", "versions", "clock", "cluster", "topics"}
    # A broker that is slow to answer is a warning.
    wait_until(lambda: states()["broker's clock"] == "ok", 60, "the broker does not tell its time")
    port = deployment.bootstrap_servers.rpartition(":")[2]
    Home(deployment.home).dashboard_port.write_text(f"{port}\n")
    other = replace(deployment, namespace=f"{deployment.namespace}-none").run("doctor")
    assert other.returncode == 1
    assert other.stdout.startswith("FAILED: 1 of ")
    assert "run `purchases topics create`" in other.stdout
    assert f"{port} is in use" in other.stdout


def test_logs_are_followed_through_a_rotation(deployment: Deployment) -> None:
    """Whole lines only, each once, also those after the file was cut."""
    assert "There is no log of processor" in deployment.run("logs", "processor").stderr
    assert "must be" not in deployment.run("logs", "nobody").stderr
    log = Home(deployment.home).supervisor_log("processor")
    log.parent.mkdir(exist_ok=True)
    log.write_text("".join(f"line {number}\n" for number in range(50)) + "half")
    assert deployment.succeed("logs", "processor", "-n", "2").split("\n") == [
        "line 48",
        "line 49",
        "",
    ]
    with log.open("rb") as reading, log.open("ab", buffering=0) as writing:
        assert last_lines(reading, 1) == [b"line 49\n"]
        assert list(new_lines(reading)) == []
        writing.write(b" and half\n")
        assert list(new_lines(reading)) == [b"half and half\n"]
        rotate(log, most=10)
        writing.write(b"after\n")
        assert list(new_lines(reading)) == [b"after\n"]


def test_reset_refuses_a_home_without_a_demonstration(deployment: Deployment) -> None:
    """What is stored there may be a shop's."""
    whole = deployment.whole()
    whole.succeed("db", "upgrade")
    done = whole.run("reset", "--yes")
    assert done.returncode == 1
    assert "No demonstration ran" in done.stderr
    assert whole.count("analytics_event") == 0
