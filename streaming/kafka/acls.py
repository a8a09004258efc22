"""What each role must be permitted on the cluster: the one table; pure.

The preflight asks the brokers for it, `topics acls` prints it, and docs and tests compare with it.
How the brokers are asked is in `permissions`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Final, Literal

from streaming.apps import ANALYTICS, PROCESSOR
from streaming.kafka.names import Names
from streaming.settings import Settings

Kind = Literal["topic", "group", "transactional id"]
Operation = Literal["READ", "WRITE", "CREATE", "DESCRIBE", "DESCRIBE_CONFIGS", "ALTER_CONFIGS"]
Role = Literal["producer", "processor", "consumer", "dashboard", "operator"]

ROLES: Final[tuple[Role, ...]] = ("producer", "processor", "consumer", "dashboard", "operator")
CONFLUENT_OPTIONS: Final[dict[Kind, str]] = {
    "topic": "--topic",
    "group": "--consumer-group",
    "transactional id": "--transactional-id",
}
KAFKA_OPTIONS: Final[dict[Kind, str]] = CONFLUENT_OPTIONS | {"group": "--group"}


@dataclass(frozen=True)
class Rule:
    """An operation that is permitted on a topic, group or transactional id.

    With `is_prefix` on all whose names begin with `name`; `examples` are then those that are asked
    about. `without` is what happens if it is not permitted; empty if nothing works then.
    """

    kind: Kind
    name: str
    operation: Operation
    is_prefix: bool = False
    # What is said of a rule, and asked by it, does not make it another one: all roles' rules are
    # printed once each.
    examples: tuple[str, ...] = field(default=(), compare=False)
    without: str = field(default="", compare=False)


def producer_rules(names: Names) -> list[Rule]:
    """Return what sending purchases needs."""
    return [Rule("topic", names.purchases, "WRITE")]


def scan_rules(names: Names) -> list[Rule]:
    """Return what a replay that was interrupted needs beside, to see what it has sent."""
    return [Rule("topic", names.purchases, "READ")]


def processor_rules(names: Names, slots: Sequence[int] = ()) -> list[Rule]:
    """Return what the processor needs; asked about are the first and the last id of `slots`.

    What it writes it reads too, because it ends transactions that a broker forgot to end.
    """
    # Two stand for all slots, because asking about one takes a producer of its own (`permissions`).
    ids = tuple(names.transactional_id(slot) for slot in dict.fromkeys([*slots[:1], *slots[-1:]]))
    return [
        Rule("topic", names.purchases, "READ"),
        Rule("topic", names.redrive, "READ"),
        Rule("topic", names.analytics, "READ"),
        Rule("topic", names.analytics, "WRITE"),
        Rule("topic", names.dead_letters, "READ"),
        Rule("topic", names.dead_letters, "WRITE"),
        Rule(
            "topic",
            names.dead_letters,
            "DESCRIBE_CONFIGS",
            without="dead letters over 1,000,000 bytes are cut",
        ),
        Rule("group", names.processor_group, "READ"),
        Rule("transactional id", names.transactional_ids, "WRITE", is_prefix=True, examples=ids),
    ]


def consumer_rules(names: Names, groups: Iterable[str] = ()) -> list[Rule]:
    """Return what the consumer needs; asked about are `groups`, each of one database."""
    return [
        Rule("topic", names.analytics, "READ"),
        Rule("topic", names.dead_letters, "READ"),
        # By prefix: the name ends with the database's id, which its first start makes.
        Rule("group", names.analytics_groups, "READ", is_prefix=True, examples=tuple(groups)),
    ]


def app_rules(settings: Settings, groups: Iterable[str] = ()) -> list[Rule]:
    """Return what the apps need that run on this host; of `groups` as in `consumer_rules`."""
    names, slots = Names.of(settings), range(PROCESSOR.slots(settings))
    processor = processor_rules(names, slots) if slots else []
    return [*processor, *(consumer_rules(names, groups) if ANALYTICS.slots(settings) else [])]


def reader_rules(names: Names) -> list[Rule]:
    """Return what comparing all topics and the processor's positions needs."""
    return [
        *(Rule("topic", topic, "READ") for topic in names.topics),
        Rule("group", names.processor_group, "READ"),
    ]


def redrive_rules(names: Names, *, send: bool = True) -> list[Rule]:
    """Return what `dlq redrive` needs; without `send`, its dry run."""
    sending = [Rule("topic", names.redrive, "WRITE")] if send else []
    return [Rule("topic", names.dead_letters, "READ"), *sending]


def create_rules(names: Names) -> list[Rule]:
    """Return what `topics create` needs to see what exists, and to create what does not."""
    return [
        Rule("topic", topic, operation)
        for topic in names.topics
        for operation in ("DESCRIBE", "CREATE")
    ]


def options_rules(names: Names) -> list[Rule]:
    """Return what it needs to see the topics' options."""
    effect = "`status` does not find unsafe_topic and unread_soon_deleted"
    return [Rule("topic", topic, "DESCRIBE_CONFIGS", without=effect) for topic in names.topics]


def alter_rules(names: Names) -> list[Rule]:
    """Return what `topics create --alter` needs beside the above."""
    return [Rule("topic", topic, "ALTER_CONFIGS") for topic in names.topics]


def rules_of(role: Role, settings: Settings) -> list[Rule]:
    """Return all rules of a role in the deployment of `settings`, each once."""
    names = Names.of(settings)
    match role:
        case "producer":
            rules = producer_rules(names)
        case "processor":
            rules = processor_rules(names)
        case "consumer":
            rules = consumer_rules(names)
        case "dashboard":
            sending = producer_rules(names) if settings.http_in else []
            rules = [*reader_rules(names), *redrive_rules(names), *options_rules(names), *sending]
        case "operator":
            rules = [
                *create_rules(names),
                *options_rules(names),
                *alter_rules(names),
                *reader_rules(names),
                *redrive_rules(names),
            ]
    return list(dict.fromkeys(rules))


def sentence(rules: Iterable[Rule]) -> str:
    """Return rules as words, such as `READ and WRITE on the topic analytics`."""
    return _enumeration([_words(of_resource) for of_resource in _by_resource(rules)])


def lacking_sentence(rules: Sequence[Rule]) -> str:
    """Return what is said of a user who lacks these permissions, of which there is one at least."""
    permission, them = ("permission", "it") if len(rules) == 1 else ("permissions", "them")
    return (
        f"This user lacks the {permission} {sentence(rules)}; grant {them}."
        " `purchases topics acls` prints the commands."
    )


def note_sentences(rules: Iterable[Rule]) -> tuple[str, ...]:
    """Return what is said of permissions that lack, but without which it works."""
    by_effect: dict[str, list[Rule]] = {}
    for rule in rules:
        by_effect.setdefault(rule.without, []).append(rule)
    return tuple(
        lacking_sentence(lacking)
        + (f" Without, {effect}." if effect else " Or there is no such topic.")
        for effect, lacking in by_effect.items()
    )


def confluent_commands(rules: Iterable[Rule], principal: str) -> list[str]:
    """Return the lines that grant the rules to `principal` by Confluent's command line."""
    return [
        f"confluent kafka acl create --allow --principal {principal} --operations"
        f" {','.join(rule.operation.lower().replace('_', '-') for rule in of_resource)}"
        f" {CONFLUENT_OPTIONS[of_resource[0].kind]} {of_resource[0].name}"
        + (" --prefix" if of_resource[0].is_prefix else "")
        for of_resource in _by_resource(rules)
    ]


def kafka_commands(rules: Iterable[Rule], principal: str, servers: str) -> list[str]:
    """Return the lines that grant the rules to `principal` by Apache Kafka's command line."""
    return [
        f"kafka-acls --bootstrap-server {servers} --command-config admin.properties --add"
        f" --allow-principal {principal}"
        + "".join(f" --operation {_camel_case(rule.operation)}" for rule in of_resource)
        + f" {KAFKA_OPTIONS[of_resource[0].kind]} {of_resource[0].name}"
        + (" --resource-pattern-type prefixed" if of_resource[0].is_prefix else "")
        for of_resource in _by_resource(rules)
    ]


def _by_resource(rules: Iterable[Rule]) -> Iterator[list[Rule]]:
    """Yield the rules of each topic, group or id together, in the order of the first of each."""
    first: dict[tuple[str, str], int] = {}
    listed = list(dict.fromkeys(rules))
    for number, rule in enumerate(listed):
        first.setdefault((rule.kind, rule.name), number)
    ordered = sorted(listed, key=lambda rule: first[rule.kind, rule.name])
    for _, of_resource in groupby(ordered, key=lambda rule: (rule.kind, rule.name)):
        yield list(of_resource)


def _words(rules: Sequence[Rule]) -> str:
    operations = _enumeration([rule.operation for rule in rules])
    kind, name = rules[0].kind, rules[0].name
    where = f"{kind}s that begin with {name}" if rules[0].is_prefix else f"the {kind} {name}"
    return f"{operations} on {where}"


def _enumeration(words: Sequence[str]) -> str:
    return " and ".join([*([", ".join(words[:-1])] if words[1:] else []), words[-1]])


def _camel_case(operation: str) -> str:
    return operation.title().replace("_", "")
