"""`python -m streaming`: the command line of the stream's half alone."""

from streaming.cli.app import stream_app
from streaming.cli.exit_codes import run_app

if __name__ == "__main__":
    run_app(stream_app(), "python -m streaming")
