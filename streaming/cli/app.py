"""The commands of the stream's half, put on one typer app; what they do lives elsewhere."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated

import typer

from streaming.cli import (
    broker,
    customer,
    dashboard,
    db,
    dlq,
    offsets,
    produce,
    run,
    status,
    topics,
    totals,
    verify,
)
from streaming.cli.groups import FIGURES, SOURCES, STREAM, UPKEEP, CommandGroups
from streaming.cli.output import print_text

if TYPE_CHECKING:
    from streaming.dashboard.app import Extension
    from streaming.status.collect import SectionOf


def stream_app(
    sections: "Callable[[], Mapping[str, SectionOf]]" = dict,
    extension: "Callable[[], Extension] | None" = None,
) -> typer.Typer:
    """Build the command line of the stream's half; the composed one adds its own to it.

    `sections` returns what others add to `status`, by name; `extension` what they add to the
    dashboard.
    """
    app = typer.Typer(
        cls=CommandGroups,
        help="Purchases in, exact figures out.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    @app.callback()
    def purchases(
        *,
        # For the help only: `run_app` takes it off the line, wherever it stands.
        debug: Annotated[
            bool, typer.Option("--debug", help="Show the traceback of an error.")
        ] = False,
        version: Annotated[
            bool,
            typer.Option(
                "--version", is_eager=True, callback=_print_version, help="Print the version."
            ),
        ] = False,
    ) -> None:
        """Purchases in, exact figures out: the stream, its database and its proofs."""

    for group, name, line, command in (
        (SOURCES, "produce", "Send generated purchases.", produce.produce),
        (SOURCES, "replay", "Send a recorded history, each row once.", produce.replay),
        (STREAM, "process", "Run PurchaseProcessorApp.", run.process),
        (STREAM, "analyze", "Run AnalyticsConsumerApp.", run.analyze),
        (STREAM, "status", "Show the health of every part.", status.status_command(sections)),
        (FIGURES, "totals", "Print what was sold.", totals.totals),
        (
            FIGURES,
            "dashboard",
            "Serve the dashboard, its API and the metrics.",
            dashboard.dashboard_command(extension or _no_extension),
        ),
        (FIGURES, "verify", "Recount the events and compare the figures.", verify.verify),
        (UPKEEP, "erase", "Replace a customer by a pseudonym.", customer.erase),
        (
            UPKEEP,
            "export-customer",
            "Write all that is stored of a customer.",
            customer.export_customer,
        ),
    ):
        app.command(name, short_help=line, rich_help_panel=group)(command)
    for group, name, line, commands in (
        (STREAM, "broker", "The embedded Kafka broker of this home.", broker.app),
        (STREAM, "topics", "The deployment's topics.", topics.app),
        (STREAM, "dlq", "What was refused, and why.", dlq.app),
        (STREAM, "offsets", "Stored positions.", offsets.app),
        (UPKEEP, "db", "The database: schema, backups, rebuild.", db.app),
    ):
        app.add_typer(commands, name=name, short_help=line, rich_help_panel=group)
    return app


def _no_extension() -> "Extension":
    from streaming.dashboard.app import Extension

    return Extension()


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if value:
        print_text(f"purchases {version('purchases')}")
        raise typer.Exit
