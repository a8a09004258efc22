"""The commands of the stream's half, put on one typer app; what they do lives elsewhere."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streaming.cli import (
    broker,
    customer,
    dashboard,
    db,
    dlq,
    doctor,
    hosts,
    logs,
    offsets,
    produce,
    replay,
    run,
    schemas,
    sql,
    status,
    topics,
    totals,
    verify,
)
from streaming.cli.groups import (
    FIGURES,
    SOURCES,
    STREAM,
    UPKEEP,
    CommandGroups,
    Commands,
    add_commands,
)
from streaming.cli.output import print_text

if TYPE_CHECKING:
    from streaming.dashboard.app import Extension
    from streaming.status.collect import SectionOf


_SOURCES: Final[Commands] = {
    "produce": ("Send generated purchases.", produce.produce),
    "replay": ("Send a recorded history, each row once.", replay.replay),
}
_STREAM: Final[Commands] = {
    "logs": ("Print the logs of this home.", logs.logs),
    "process": ("Run PurchaseProcessorApp.", run.process),
    "analyze": ("Run AnalyticsConsumerApp.", run.analyze),
    "broker": ("The embedded Kafka broker of this home.", broker.app),
    "topics": ("The deployment's topics.", topics.app),
    "schemas": ("The schemas of the topics.", schemas.app),
    "dlq": ("What was refused, and why.", dlq.app),
    "offsets": ("Stored positions.", offsets.app),
}
_FIGURES: Final[Commands] = {
    "totals": ("Print what was sold.", totals.totals),
    "sql": ("Ask the database in SQL.", sql.app),
    "verify": ("Recount the events and compare the figures.", verify.verify),
}
_UPKEEP: Final[Commands] = {
    "doctor": ("Check the host and the cluster.", doctor.doctor),
    "erase": ("Replace a customer by a pseudonym.", customer.erase),
    "export-customer": ("Write all that is stored of a customer.", customer.export_customer),
    "forget-host": ("Forget a host that is gone for good.", hosts.forget_host),
    "db": ("The database: schema, backups, rebuild.", db.app),
}


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

    status_of_all = status.status_command(sections)
    serve = dashboard.dashboard_command(extension or _no_extension)
    add_commands(app, SOURCES, _SOURCES)
    add_commands(app, STREAM, {"status": ("Show the health of every part.", status_of_all)})
    add_commands(app, STREAM, _STREAM)
    add_commands(app, FIGURES, {"dashboard": ("Serve dashboard, API and metrics.", serve)})
    add_commands(app, FIGURES, _FIGURES)
    add_commands(app, UPKEEP, _UPKEEP)
    return app


def _no_extension() -> "Extension":
    from streaming.dashboard.app import Extension

    return Extension()


def _print_version(value: bool) -> None:  # noqa: FBT001 - typer calls it with the option's value
    if value:
        # Imported here: it takes longer to load than many a command runs.
        from importlib.metadata import version

        print_text(f"purchases {version('purchases')}")
        raise typer.Exit
