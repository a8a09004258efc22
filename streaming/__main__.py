"""`python -m streaming`: the command line of the stream's half alone."""

from streaming.cli import stream_app
from streaming.commands.console import run_app

if __name__ == "__main__":
    run_app(stream_app(), "python -m streaming")
