"""`schemas show`: the schemas of the topics, as other programs take them.

The schemas are made in `events.topic_schemas`.
"""

from typing import Annotated

import typer

from streaming.cli.output import print_json
from streaming.errors import UsageError

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
