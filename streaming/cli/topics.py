"""`topics create|list`: the deployment's topics."""

from typing import Annotated

import typer

from streaming.cli.output import print_json, print_text

app = typer.Typer(help="The deployment's topics.", no_args_is_help=True)


@app.command()
def create(
    *,
    alter: Annotated[
        bool, typer.Option("--alter", help="Alter existing topics; without, only print how.")
    ] = False,
) -> None:
    """Create the topics that are missing.

    An existing topic stays as it is. If a hostile batch could end its readers, or Kafka compacts
    it, the options that would be altered are printed; --alter does it.

    Example: purchases topics create --alter
    """
    from streaming.kafka.preflight import preflight
    from streaming.kafka.topics import alter_topics, create_topics
    from streaming.settings import load_settings

    settings = load_settings()
    servers = preflight(settings).bootstrap_servers
    created = create_topics(settings, servers)
    for name in created:
        print_text(f"created {name}")
    if not created:
        print_text("All topics exist.")
    unsafe = alter_topics(settings, servers, apply=alter)
    for option in unsafe:
        done = "altered" if alter else "would alter"
        print_text(f"{done} {option.topic}: {option.name} {option.value} → {option.safe_value}")
    if unsafe and not alter:
        print_text(
            "No existing topic was altered; --alter does it. New records then take more disk."
        )


@app.command(name="list")
def list_topics(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the deployment's topics with their partitions.

    Example: purchases topics list --json
    """
    from streaming.events.identifiers import topic_id_text
    from streaming.kafka.names import Names
    from streaming.kafka.preflight import preflight
    from streaming.kafka.topics import wanted_topics
    from streaming.settings import load_settings

    settings = load_settings()
    names = list(wanted_topics(Names.of(settings)))
    found = preflight(settings, optional=names).topics
    if as_json:
        rows = [
            {"topic": t.name, "topic_id": topic_id_text(t.topic_id), "partitions": t.partitions}
            for t in found.values()
        ]
        print_json(rows)
        return
    for name in names:
        topic = found.get(name)
        print_text(f"{name}: {f'{topic.partitions} partitions' if topic else 'missing'}")
