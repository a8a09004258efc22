"""The commands of the stream's half, put on one typer app; what they do lives elsewhere."""

from collections.abc import Callable, Mapping
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
        help="Purchases in, exact figures out.",
        no_args_is_help=True,
        add_completion=False,
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
    ) -> None:
        """Purchases in, exact figures out: the stream, its database and its proofs."""

    app.add_typer(broker.app, name="broker")
    app.add_typer(topics.app, name="topics")
    app.command()(produce.produce)
    app.command()(produce.replay)
    app.command()(run.process)
    app.command()(run.analyze)
    app.command()(status.status_command(sections))
    app.command()(totals.totals)
    app.command()(dashboard.dashboard_command(extension or _no_extension))
    app.add_typer(dlq.app, name="dlq")
    app.add_typer(offsets.app, name="offsets")
    app.add_typer(db.app, name="db")
    app.command()(verify.verify)
    app.command()(customer.erase)
    app.command()(customer.export_customer)
    return app


def _no_extension() -> "Extension":
    from streaming.dashboard.app import Extension

    return Extension()
