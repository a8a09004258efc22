"""Commands that run in the test's process, with the environment and the output of their own.

What is about processes, their signals or their death starts them instead: see `deployment`.
"""

import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cache

import pytest
import typer

from streaming.cli.exit_codes import run_app
from streaming.system.privacy import UMASK


def run_here(
    module: str, arguments: Sequence[str], environment: Mapping[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command of `python -m <module>` to its end; `environment` is the whole of it."""
    words = [module, *arguments]
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    with pytest.MonkeyPatch.context() as patch, ExitStack() as ending:
        # The command sets it for its process.
        ending.callback(os.umask, os.umask(UMASK))
        for name in os.environ.keys() - environment.keys():
            patch.delenv(name)
        # What differs alone: a library's thread may read it at the same moment.
        for name, value in environment.items() - os.environ.items():
            patch.setenv(name, value)
        patch.setattr(sys, "argv", words)
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        with pytest.raises(SystemExit) as ended:
            run_app(command_line(module), f"python -m {module}")
    assert isinstance(ended.value.code, int)
    printed, said = (stream.buffer.getvalue().decode() for stream in (out, err))
    return subprocess.CompletedProcess(words, ended.value.code, printed, said)


@cache
def command_line(module: str) -> typer.Typer:
    """Return the commands of `streaming` alone, or the composed command line."""
    if module == "streaming":
        from streaming.cli.app import stream_app

        return stream_app()
    from orchestration.cli.main import app

    return app
