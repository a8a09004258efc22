"""Fixtures of the injected faults, and the table that they print at the end of a session."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import Deployment
from tests.faults.cluster import Cluster, running_cluster
from tests.faults.table import COLUMNS

SMALL_DISK = "320m"
HERE = Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what `make test-faults` injects too: all here, but shorter forms of its long ones."""
    longer = {item.nodeid.partition("[")[0] for item in items if item.get_closest_marker("faults")}
    for item in items:
        if item.path.parent == HERE and item.nodeid.partition("[")[0] not in longer:
            item.add_marker("injection")


@pytest.fixture
def cluster(jars: Path, tmp_path: Path) -> Iterator[Cluster]:
    """One broker of this test alone, behind a proxy, that may be killed, stopped and cut off."""
    with running_cluster(jars, tmp_path / "cluster", 1) as made:
        yield made


@pytest.fixture
def alone(cluster: Cluster, tmp_path: Path) -> Deployment:
    """A deployment on that broker."""
    return deployment_on(cluster, tmp_path)


def deployment_on(cluster: Cluster, directory: Path) -> Deployment:
    """Make a deployment on a cluster, with its topics."""
    home = directory / "home"
    home.mkdir()
    made = Deployment(home, cluster.bootstrap_servers, "f")
    made.create_topics()
    return made


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a few hundred MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK},mode=755", "tmpfs", str(path)],
        check=True,
    )
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each fault did."""
    rows = [
        value
        for report in terminalreporter.getreports("passed")
        if report.when == "call"
        for name, value in report.user_properties
        if name == "fault"
    ]
    if not rows:
        return
    widths = [max(len(str(row[n])) for row in [COLUMNS, *rows]) for n in range(len(COLUMNS))]
    terminalreporter.write_sep("=", "faults")
    for row in [COLUMNS, *rows]:
        cells = [str(cell).rjust(width) for cell, width in zip(row, widths, strict=True)]
        terminalreporter.write_line("  ".join([str(row[0]).ljust(widths[0]), *cells[1:]]))
