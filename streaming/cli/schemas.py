"""`schemas show|register|check`: the schemas of the topics, for other programs and a registry.

The schemas are made in `events.topic_schemas`, and registered in `kafka.registry`.
"""

from typing import Annotated

import typer

from streaming.cli.output import AsJson, print_json, print_text
from streaming.errors import UsageError
from streaming.formatting import printable_text

app = typer.Typer(help="The schemas of the topics.", no_args_is_help=True)


@app.command(short_help="Print the schema of a topic.")
def show(
    topic: Annotated[
        str, typer.Argument(metavar="purchases|analytics", help="Default: analytics.")
    ] = "analytics",
    form: Annotated[
        str, typer.Option("--format", metavar="json-schema|connect|avro", help="In which form.")
    ] = "json-schema",
) -> None:
    """Print the schema of a topic's values on one line of JSON.

    JSON Schema says all that is promised. `connect` is for a sink: value.converter.schema.content
    of Connect's JsonConverter. `avro` is for who sends or reads Avro.

    Example: purchases schemas show analytics --format connect
    """
    from streaming.events.topic_schemas import CONTRACTS, FORMATS

    if topic not in CONTRACTS:
        raise UsageError(f"{topic!r} has no schema here; name one of {', '.join(CONTRACTS)}.")
    if form not in FORMATS:
        raise UsageError(f"--format {form!r} must be one of {', '.join(FORMATS)}.")
    print_json(FORMATS[form](topic))


@app.command(short_help="Register the schemas of the topics.")
def register(as_json: AsJson = False) -> None:
    """Register the JSON Schemas of purchases and analytics; what is there already stays the same.

    The subjects are the topics' names with `-value`. That of analytics takes what is BACKWARD
    compatible from then on, and that of purchases what is FORWARD compatible.

    Example: purchases schemas register
    """
    from streaming.kafka.registry.subjects import register_schemas
    from streaming.settings import load_settings

    registered = register_schemas(load_settings())
    if as_json:
        print_json(registered)
        return
    print_text(f"OK: {len(registered)} schemas are registered.")
    for one in registered:
        print_text(f"{one.subject} has the id {one.id} and is {one.compatibility} compatible")


@app.command(short_help="Ask whether the schemas fit those registered.")
def check(as_json: AsJson = False) -> None:
    """Ask the registry whether the schemas of this release may follow the registered ones.

    It changes nothing. The exit code is 1 if one may not, so that a build can end by it.

    Example: purchases schemas check
    """
    from streaming.kafka.registry.subjects import check_schemas
    from streaming.settings import load_settings

    checks = check_schemas(load_settings())
    wrong = [one for one in checks if one.compatible is False]
    if as_json:
        print_json(checks)
    else:
        print_text("FAILED: a schema is not compatible." if wrong else "OK: all schemas fit.")
        verdicts = {True: "fits", False: "is not compatible", None: "is not registered yet"}
        for one in checks:
            print_text(f"{one.subject} {verdicts[one.compatible]}")
            for message in one.messages:
                print_text(f"  {printable_text(message)}")
    if wrong:
        raise typer.Exit(1)
