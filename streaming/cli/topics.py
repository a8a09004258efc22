"""`topics create|list|acls|peek`: topics, permissions and records."""

import re
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streaming.cli.output import print_json, print_text
from streaming.cli.times import read_time
from streaming.errors import UsageError
from streaming.formatting import printable_text

if TYPE_CHECKING:
    from streaming.kafka.peek import PeekedRecord

PRINCIPAL: Final = re.compile(r"User:[\w.@=,+-]+", re.ASCII).fullmatch
"""What a shell takes as one word."""

app = typer.Typer(help="The deployment's topics.", no_args_is_help=True)


@app.command(short_help="Create the topics that are missing.")
def create(
    *,
    alter: Annotated[
        bool, typer.Option("--alter", help="Alter existing topics; without, only print how.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Create the topics that are missing.

    An existing topic stays as it is. If a hostile batch could end its readers, or Kafka compacts
    it, the options that would be altered are printed; --alter does it.

    Example: purchases topics create --alter
    """
    from streaming.kafka.acls import alter_rules, options_rules
    from streaming.kafka.names import Names
    from streaming.kafka.preflight import preflight
    from streaming.kafka.topics import alter_topics, create_topics
    from streaming.settings import load_settings

    settings = load_settings()
    names = Names.of(settings)
    needs = options_rules(names) + (alter_rules(names) if alter else [])
    cluster = preflight(settings, needs, optional=names.topics)
    servers = cluster.bootstrap_servers
    created = create_topics(settings, servers)
    if as_json:
        unsafe = alter_topics(settings, servers, apply=alter)
        print_json({"created": created, "unsafe": unsafe, "altered": alter})
        return
    print_text(f"OK: {len(created)} topics created." if created else "OK: all topics exist.")
    for name in created:
        print_text(f"created {name}")
    unsafe = alter_topics(settings, servers, apply=alter)
    for option in unsafe:
        done = "altered" if alter else "would alter"
        print_text(f"{done} {option.topic}: {option.name} {option.value} → {option.safe_value}")
    if unsafe and not alter:
        print_text(
            "Dry run: no existing topic was altered. Add --alter to alter them. New records then"
            " take more disk."
        )
    for note in cluster.notes:
        print_text(note, err=True)


@app.command("list", short_help="List the topics with their partitions.")
def list_topics(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the deployment's topics with their partitions.

    Example: purchases topics list --json
    """
    from streaming.events.identifiers import topic_id_text
    from streaming.kafka.names import Names
    from streaming.kafka.preflight import preflight
    from streaming.settings import load_settings

    settings = load_settings()
    names = Names.of(settings).topics
    existing = preflight(settings, optional=names).topics
    if as_json:
        rows = [
            {"topic": t.name, "topic_id": topic_id_text(t.topic_id), "partitions": t.partitions}
            for t in existing.values()
        ]
        print_json(rows)
        return
    for name in names:
        topic = existing.get(name)
        print_text(f"{name}: {f'{topic.partitions} partitions' if topic else 'missing'}")


@app.command(short_help="Print the permissions that each role needs.")
def acls(
    role: Annotated[
        str | None,
        typer.Option(help="producer, processor, consumer, dashboard or operator; default all."),
    ] = None,
    principal: Annotated[
        str | None,
        typer.Option(metavar="User:NAME", help="Who is permitted; default one user a role."),
    ] = None,
) -> None:
    """Print the commands that permit each role what it needs, and no more.

    Each rule is printed twice: for Confluent's command line, and for Apache Kafka's. For all roles
    with one principal, as `purchases up` needs it, each rule is printed once.

    Example: purchases topics acls --role producer --principal User:sa-123456
    """
    from streaming.errors import UsageError
    from streaming.kafka.acls import ROLES, Rule, confluent_commands, kafka_commands, rules_of
    from streaming.kafka.bootstrap import bootstrap_servers
    from streaming.settings import load_settings

    settings = load_settings()
    roles = [one for one in ROLES if role in {None, one}]
    if not roles:
        raise UsageError(f"--role {role} must be one of {', '.join(ROLES)}.")
    if principal is not None and not PRINCIPAL(principal):
        raise UsageError(f"--principal {principal!r} must be User:NAME, such as User:sa-123456.")
    granted: dict[str, list[Rule]] = {}
    for one in roles:
        granted.setdefault(principal or f"User:{one}", []).extend(rules_of(one, settings))
    # The embedded broker has no users to grant anything: the lines are for a cluster to come.
    servers = "localhost:9092" if settings.embedded_broker else bootstrap_servers(settings)
    for user, rules in granted.items():
        print_text(f"# {user} on Confluent Cloud")
        print_text("\n".join(confluent_commands(rules, user)))
        print_text(f"# {user} on Apache Kafka")
        print_text("\n".join(kafka_commands(rules, user, servers)))


@app.command(short_help="Print records of a topic.")
def peek(  # noqa: PLR0913, PLR0917 - a command's options are its parameters
    topic: Annotated[str, typer.Argument(help="Such as purchases, with or without namespace.")],
    key: Annotated[str | None, typer.Option(help="Only records with this key.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="The first ones from this time on.")
    ] = None,
    offset: Annotated[
        str | None, typer.Option(metavar="PARTITION:OFFSET", help="Those from this offset on.")
    ] = None,
    number: Annotated[int, typer.Option("-n", min=1, max=1_000, help="How many at most.")] = 10,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print those that come, until Ctrl-C.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each.")] = False,
) -> None:
    """Print the newest committed records of a topic, or the first from a time or an offset on.

    Looks at 200,000 records at most, and moves no position. What it prints is personal data.

    Example: purchases topics peek purchases --key 17850 -n 3
    """
    from streaming.kafka import peek as topic_peek
    from streaming.settings import load_settings
    from streaming.system.shutdown import stop_on_signals

    settings = load_settings()
    name, key_bytes = topic_peek.topic_named(settings, topic), None if key is None else key.encode()
    if follow:
        if since or offset:
            raise UsageError("--follow prints what comes now; leave out --from and --offset.")
        with stop_on_signals() as stop:
            for record in topic_peek.follow(settings, name, key_bytes, lambda: not stop.is_set()):
                _print_record(record, as_json=as_json)
        return
    time = read_time("--from", since, settings)
    milliseconds = None if time is None else int(time.timestamp() * 1000)
    start = None if offset is None else topic_peek.read_start(offset)
    request = topic_peek.PeekRequest(name, key_bytes, milliseconds, start, number)
    peek_result = topic_peek.peek(settings, request)
    for record in peek_result.records:
        _print_record(record, as_json=as_json)
    if not peek_result.complete:
        print_text(
            f"Looked at {peek_result.scanned:,} records only; name a later --from.", err=True
        )


def _print_record(record: "PeekedRecord", *, as_json: bool) -> None:
    if as_json:
        print_json(record)
        return
    key = "none" if record.key is None else printable_text(record.key)
    value = "no value" if record.value is None else printable_text(record.value)
    position = f"{record.topic}-{record.partition} @ {record.offset}"
    print_text(f"{record.timestamp or 'no time'}  {position}  key {key}")
    for header, content in record.headers:
        print_text(
            f"  {printable_text(header)}: {'none' if content is None else printable_text(content)}"
        )
    print_text(f"  {value}")
