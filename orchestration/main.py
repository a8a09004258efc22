"""`purchases`: the whole command line, the stream's commands and `up` and `down`."""

import typer

from orchestration import commands
from streaming.cli import stream_app
from streaming.commands.console import run_app


def build_app() -> typer.Typer:
    """Compose the command line from what the packages bring."""
    app = stream_app()
    app.command()(commands.up)
    app.command()(commands.down)
    app.command()(commands.env)
    app.command()(commands.backfill)
    return app


app = build_app()


def run() -> None:
    """Run the console script."""
    run_app(app, "purchases")
