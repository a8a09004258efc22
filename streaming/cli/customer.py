"""`erase`, `export-customer`: a person's data, replaced by pseudonyms or handed out.

The work is done in `store.erasure` and `store.personal_data`; how long Kafka holds it is asked of
`kafka.topic_options`.
"""

import csv
import io
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streaming.cli.output import AsJson, print_json, print_text
from streaming.formatting import harmless_cell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streaming.settings import Settings
    from streaming.store.erasure import ErasureResult
    from streaming.store.personal_data import PersonalData


def erase(
    user: Annotated[
        str | None, typer.Option(metavar="USER", help="The customer, with all orders.")
    ] = None,
    order: Annotated[
        str | None, typer.Option(metavar="ORDER", help="One order, such as a guest's.")
    ] = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, only print what it would do.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replace a customer's name and orders by pseudonyms; a dry run without --yes.

    Every figure stays. What is read, restored or imported later gets the same pseudonyms. The
    stream may run meanwhile.

    Example: purchases erase --user anna@example.org --yes
    """
    from streaming.errors import UsageError
    from streaming.settings import load_settings
    from streaming.store.erasure import erase as erase_names

    if (user is None) == (order is None):
        raise UsageError("Name either --user or --order.")
    settings = load_settings()
    result = erase_names(settings, user, order, apply=yes)
    # After the erasure, which must not wait for brokers that do not answer.
    elsewhere = _what_else_holds_it(settings)
    if as_json:
        print_json({"applied": yes, **asdict(result), "elsewhere": elsewhere})
    else:
        print_text("\n".join([*_summary(result, settings, applied=yes), *elsewhere]))


def export_customer(
    user: Annotated[str, typer.Argument(metavar="USER", help="The customer.")],
    form: Annotated[
        str, typer.Option("--format", metavar="json|csv", help="How it is written.")
    ] = "json",
    output: Annotated[
        Path | None, typer.Option(help="A file, replaced when it is whole. Default: stdout.")
    ] = None,
) -> None:
    """Write all that is stored of a customer: events, dead letters and rows of tables.

    Times are in UTC and money is in decimals. CSV is for spreadsheets: it has the columns of all
    tables, names the table first, and has an apostrophe before what looks like a formula.

    Example: purchases export-customer anna@example.org --output anna.json
    """
    import msgspec

    from streaming.errors import UsageError
    from streaming.settings import load_settings
    from streaming.store.personal_data import read_personal_data
    from streaming.system.file_errors import file_errors
    from streaming.system.files import replace_file

    if form not in {"json", "csv"}:
        raise UsageError(f"--format {form} must be json or csv.")
    data = read_personal_data(load_settings(), user)
    if output is None and form == "json":
        print_json({"user": user, **data})
    elif output is None:
        print_text(_csv(data).rstrip("\n"))
    else:
        exact = msgspec.json.encode({"user": user, **data})
        with file_errors(output), replace_file(output, durable=True) as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(_csv(data).encode() if form == "csv" else exact)
        print_text(f"{output} has {sum(map(len, data.values())):,} rows.")


def _summary(result: "ErasureResult", settings: "Settings", *, applied: bool) -> list[str]:
    erasure = result.erasure
    counts = (
        f"{erasure.events:,} events of {erasure.orders:,} orders on {erasure.days:,} days,"
        f" {erasure.dead_letters:,} dead letters, {erasure.table_rows:,} names in tables"
    )
    if not applied:
        lines = [f"Dry run: {counts} would be erased. Nothing was changed; --yes does it."]
    elif result.is_new:
        lines = [
            f"OK: erased {counts}.",
            f"The row {erasure.id} of the table erasure is the proof.",
        ]
    else:
        lines = ["OK: it was erased before, and nothing that is stored names it."]
    if result.with_user:
        lines.append(f"{result.with_user:,} of the events have a user, who is not erased.")
    if applied and not result.is_overwritten:
        lines.append(_what_is_not_overwritten(settings))
    if result.destroyed:
        lines.append(
            f"{result.destroyed:,} column files held the names and are removed. Earlier backups"
            " that need them cannot be restored any more: make one now, with `purchases db backup`."
        )
    return lines


def _what_is_not_overwritten(settings: "Settings") -> str:
    database = settings.database
    if isinstance(database, Path):
        return (
            f"Free space in {database} may still hold the names, because the file was in use or its"
            " disk is full: run the same command again."
        )
    return (
        f"Free space of {database}, its log and its backups may still hold the names: its"
        " administrator rewrites the tables with VACUUM FULL, and deletes what is older."
    )


def _what_else_holds_it(settings: "Settings") -> list[str]:
    """Return what still holds the names: topics, until when, and the backups of the home."""
    from streaming.system.home import Home

    backups = len(list(Home(settings.home).backups.glob("*.db")))
    kept = (
        [f"{backups:,} backups in {Home(settings.home).backups} may hold the names until deleted."]
        if backups
        else []
    )
    return [*_topics(settings), *kept]


def _topics(settings: "Settings") -> list[str]:
    from confluent_kafka.admin import AdminClient

    from streaming.errors import PurchasesError
    from streaming.kafka.config import common_config
    from streaming.kafka.names import Names
    from streaming.kafka.preflight import preflight
    from streaming.kafka.topic_options import held_until, read_options
    from streaming.kafka.topics import topic_definitions

    topics = list(topic_definitions(Names.of(settings)))
    try:
        cluster = preflight(settings, optional=topics)
        admin = AdminClient(common_config(settings, cluster.bootstrap_servers, "erase"))
        options = read_options(admin, cluster.topics)
    except PurchasesError as error:
        return [f"Until when the topics hold the names is not known: {error}"]
    return [
        f"The topic {topic} holds what was written until now "
        + ("without end." if (until := held_until(options[topic])) is None else f"until {until}.")
        for topic in options
    ]


def _csv(data: "PersonalData") -> str:
    columns = dict.fromkeys(name for rows in data.values() for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["table", *columns], lineterminator="\n")
    writer.writeheader()
    for table, rows in data.items():
        writer.writerows({"table": table, **_cells(row)} for row in rows)
    return text.getvalue()


def _cells(row: "Mapping[str, object]") -> dict[str, object]:
    return {
        name: harmless_cell(value) if isinstance(value, str) else value
        for name, value in row.items()
    }
