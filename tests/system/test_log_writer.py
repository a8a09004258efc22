"""The log of a program that rotates none, written for it."""

import os
from pathlib import Path

from streaming.settings import outer_environment
from streaming.system.child_process import start_child
from streaming.system.log_rotation import LOG_BYTES
from streaming.system.log_writer import copy_to_log, start_log_writer


def test_a_program_that_writes_without_an_end_fills_no_disk(tmp_path: Path) -> None:
    """Its last words are there, and its writer has ended when they are."""
    log = tmp_path / "logs" / "broker.log"
    writer, pipe = start_log_writer(log, outer_environment())
    with pipe:
        child = start_child(
            ["/bin/sh", "-c", "yes | head -c 35000000; echo last >&2"], outer_environment(), pipe
        )
    assert child.wait(120) == 0
    assert writer.wait(120) == 0
    kept = [log, log.with_suffix(".log.1")]
    assert sorted(log.parent.iterdir()) == kept
    assert all(path.stat().st_size <= LOG_BYTES for path in kept)
    assert log.read_bytes().endswith(b"y\nlast\n")


def test_what_cannot_be_written_is_dropped(tmp_path: Path) -> None:
    """Or the program would wait for the pipe forever."""
    source, pipe = os.pipe()
    with os.fdopen(source, "rb") as output:
        os.write(pipe, b"x" * 10_000)
        os.close(pipe)
        copy_to_log(output.fileno(), tmp_path / "missing" / "log")
    assert not list(tmp_path.iterdir())
