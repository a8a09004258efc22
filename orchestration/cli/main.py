"""`purchases`: the whole command line, with the commands of both halves."""

from typing import TYPE_CHECKING

import typer

from orchestration.cli import commands
from streaming.cli.app import stream_app
from streaming.cli.exit_codes import run_app
from streaming.cli.groups import FIGURES, STREAM, UPKEEP, add_commands

if TYPE_CHECKING:
    from streaming.dashboard.app import Extension
    from streaming.status.collect import SectionOf


def build_app() -> typer.Typer:
    """Compose the command line of both halves."""
    app = stream_app(_sections, _extension)
    add_commands(
        app,
        STREAM,
        {
            "up": ("Run everything until Ctrl-C.", commands.up),
            "down": ("End everything that runs in this home.", commands.down),
            "open": ("Open the dashboard, or Dagster's UI.", commands.open_server),
        },
    )
    add_commands(
        app,
        FIGURES,
        {
            "backfill": ("Build the day tables of a range of days.", commands.backfill),
            "export": ("Write a table as CSV, Parquet or JSON lines.", commands.export),
        },
    )
    add_commands(
        app,
        UPKEEP,
        {
            "env": ("Print settings for Dagster's own commands.", commands.env),
            "reset": ("Delete what a demonstration left.", commands.reset),
        },
    )
    return app


def _sections() -> "dict[str, SectionOf]":
    """Return the sections of the batch half in the status."""
    from assets.queries.status_section import read_tables_section

    return {"tables": read_tables_section}


def _extension() -> "Extension":
    """Return what the batch half adds to the dashboard."""
    from assets.queries.endpoints import history_endpoints
    from orchestration.local.services import read_dagster_url
    from streaming.dashboard.app import Extension

    return Extension(history_endpoints(read_dagster_url), _sections(), ("history", "verified"))


app = build_app()


def run() -> None:
    """Run the console script."""
    run_app(app, "purchases")


if __name__ == "__main__":
    run()
