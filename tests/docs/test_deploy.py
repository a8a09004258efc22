"""What docs/deploy starts are commands of this program, as they stand there."""

import configparser
import json
import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]  # comes with Dagster

from streaming.settings import Settings

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "docs" / "deploy"
PROGRAM = "/opt/purchases/.venv/bin/purchases"


def runs(arguments: list[str]) -> bool:
    """Return whether the program has this command."""
    words = [sys.executable, "-c", "from orchestration.cli.main import run; run()"]
    done = subprocess.run([*words, *arguments, "--help"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.parametrize("unit", sorted(path.name for path in DEPLOY.glob("*.service")))
def test_a_unit_starts_a_command_and_gives_it_time_to_drain(unit: str) -> None:
    """Its workers need up to ten seconds after SIGTERM."""
    parsed = configparser.ConfigParser(strict=False)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(DEPLOY / unit)
    program, *arguments = shlex.split(parsed["Service"]["ExecStart"])
    assert program == PROGRAM
    assert runs(arguments)
    assert int(parsed["Service"]["TimeoutStopSec"]) > 10
    assert parsed["Service"]["KillMode"] == "mixed"
    assert parsed["Service"]["Restart"] == "on-failure"
    assert parsed["Service"]["PrivateTmp"] == "yes"
    assert parsed["Unit"]["StartLimitIntervalSec"] == "0"


def test_the_units_have_one_sandbox() -> None:
    """What a unit does not need, it cannot do, and its files are nobody else's."""
    sandboxes = {
        path.read_text().partition("TimeoutStopSec=15\n")[2].partition("\n[Install]")[0]
        for path in DEPLOY.glob("*.service")
    }
    assert len(sandboxes) == 1
    lines = sandboxes.pop().split()
    assert {"UMask=0077", "NoNewPrivileges=yes", "CapabilityBoundingSet="} < set(lines)
    assert {"ProtectSystem=strict", "ProtectHome=yes", "RestrictNamespaces=yes"} < set(lines)
    assert "SystemCallFilter=@system-service" in lines


def test_the_container_starts_commands() -> None:
    """Entry point, default command and health check are this program's."""
    text = (DEPLOY / "Containerfile").read_text()
    started = {
        name: json.loads(words)
        for name, words in re.findall(r"^(ENTRYPOINT|CMD) (\[.*\])$", text, re.MULTILINE)
    }
    health = json.loads(re.findall(r"HEALTHCHECK .* CMD (\[.*\])", text)[0])
    assert started["ENTRYPOINT"] == [PROGRAM]
    assert health[0] == PROGRAM
    assert runs(started["CMD"])
    assert runs(health[1:])


def test_compose_and_kubernetes_start_commands_with_settings_that_there_are() -> None:
    """No command and no variable is mistyped, and both keep one home on one host."""
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    folder = DEPLOY / "kubernetes"
    base, pod = (
        yaml.safe_load((folder / name).read_text())
        for name in ("kustomization.yaml", "statefulset.yaml")
    )
    (container,) = pod["spec"]["template"]["spec"]["containers"]
    assert runs(compose["purchases"]["command"])
    assert runs(container["args"])
    program, *arguments = container["readinessProbe"]["exec"]["command"]
    assert program == PROGRAM
    assert runs(arguments)
    assert pod["spec"]["replicas"] == 1
    assert pod["spec"]["template"]["spec"]["enableServiceLinks"] is False
    given = [literal.split("=")[0] for literal in base["configMapGenerator"][0]["literals"]]
    given += [*compose["purchases"]["environment"], *(one["name"] for one in container["env"])]
    assert {
        name.removeprefix("PURCHASES_").lower() for name in given
    } <= Settings.model_fields.keys()
    mounted = [volume.split(":")[0] for one in compose.values() for volume in one["volumes"]]
    files = [DEPLOY / name for name in mounted if name.startswith(".")]
    assert len(files) == 5
    assert all(file.is_file() for file in files)
    # Nothing listens for others: all share the host's network, on loopback.
    assert {one["network_mode"] for one in compose.values()} == {"host"}


def test_what_brings_everything_else_is_pinned_by_hash() -> None:
    """The base image, and uv, which checks the hashes of all others."""
    container = (DEPLOY / "Containerfile").read_text()
    images = re.findall(r"^FROM (\S+)", container, re.MULTILINE)
    assert images
    assert all(re.search(r"@sha256:[0-9a-f]{64}$", image) for image in images)
    for text in (container, (ROOT / "Makefile").read_text()):
        installs = re.findall(r"pip install ([^;\\]*)", text)
        assert installs
        assert all("--require-hashes --requirement" in one for one in installs)
        assert all("scripts/uv.txt" in one for one in installs)


@pytest.mark.parametrize(
    "module", ["streaming.analytics.app", "orchestration.cli.main", "sqlalchemy.orm"]
)
def test_setup_compiles_what_a_worker_imports(module: str) -> None:
    """Who may not write into the installation would compile it again at each start of a worker."""
    spec = find_spec(module)
    assert spec is not None
    assert spec.cached is not None
    assert Path(spec.cached).exists()
