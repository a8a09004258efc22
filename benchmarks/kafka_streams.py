"""The processor's work as a Kafka Streams program: fetched, compiled, and the command to run it.

The program is `streams/PurchaseStreams.java`; how it is measured is in `speed`.
"""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import jgo

from benchmarks.scratch import Bench
from streaming.broker.jars import java
from streaming.kafka.config import TRANSACTIONAL
from streaming.kafka.names import Names

VERSION: Final = "4.3.1"
COORDINATES: Final = (
    f"org.apache.kafka:kafka-streams:{VERSION}"
    f"+org.apache.kafka:kafka-clients:{VERSION}"
    "+com.fasterxml.jackson.core:jackson-databind:2.21.2"
    "+org.slf4j:slf4j-simple:1.7.36"
)
SOURCE: Final = Path(__file__).parent / "streams" / "PurchaseStreams.java"
GROUP: Final = "bench-streams"
COLLECTOR: Final = "-XX:+UseSerialGC"
"""Of the JVM's collectors the one that costs it least CPU here."""
COMMIT_MILLISECONDS: Final = 100
"""Streams' own for exactly once; the processor commits its batches of 5,000 more often."""


def streams_command(bench: Bench) -> list[str] | None:
    """Fetch and compile into the bench's home; None where the machine has no `javac`."""
    compiler = shutil.which("javac")
    if compiler is None:
        return None
    directory = bench.home / "streams"
    directory.mkdir(exist_ok=True)
    jars = jgo.build(COORDINATES).all_jars
    class_path = os.pathsep.join(map(str, [directory, *jars]))
    subprocess.run(
        [compiler, "--release", "17", "-d", str(directory), "-cp", class_path, str(SOURCE)],
        check=True,
    )
    names = Names.of(bench.settings)
    return [
        str(java()),
        COLLECTOR,
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
        "-cp",
        class_path,
        "PurchaseStreams",
        bench.servers,
        GROUP,
        names.purchases,
        names.analytics,
        names.dead_letters,
        str(directory / "state"),
        str(TRANSACTIONAL["linger.ms"]),
        str(COMMIT_MILLISECONDS),
    ]
