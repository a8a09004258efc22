"""`workspace.yaml`: Dagster's own commands over a home, in a shell at the repository's root."""

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from orchestration.build import build_defs
from tests.databases import home_settings
from tests.orchestration.graphql import sensors_at
from tests.orchestration.home import HomeRunner
from tests.support import free_port, wait_until

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
PROGRAMS = Path(sys.executable).parent


@pytest.mark.parametrize(
    "commands",
    ["exec dagster dev -p {port}", "dagster-daemon run & exec dagster-webserver -p {port}"],
    ids=["dev", "apart"],
)
def test_dagsters_own_commands_serve_all_sensors_and_let_them_tick(
    home: HomeRunner, commands: str
) -> None:
    """The shell's one preparation is `purchases env`; Dagster finds `workspace.yaml` itself."""
    port = free_port()
    purchases = shlex.join(home.command("env"))
    path = f"{PROGRAMS}{os.pathsep}{home.environment['PATH']}"
    with home.log.open("ab") as log:
        shell = subprocess.Popen(
            ["/bin/sh", "-c", f'eval "$({purchases})"; {commands.format(port=port)}'],
            env={**home.environment, "PATH": path},
            cwd=ROOT,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    repository = build_defs(home_settings(home.path)).get_repository_def()
    names = {sensor.name for sensor in repository.sensor_defs}

    def all_ticked() -> bool:
        sensors = sensors_at(f"http://127.0.0.1:{port}")
        return set(sensors) == names and all(state["ticks"] for state in sensors.values())

    try:
        wait_until(all_ticked, 150, "a sensor does not tick")
    finally:
        os.killpg(shell.pid, signal.SIGTERM)
        shell.wait(120)
    assert "telemetry" not in home.log.read_text().lower()
    home.run("down")
    wait_until(lambda: home.processes() == [], 60, "a process stays")
