"""librdkafka configurations: one place for each option that exactly-once or liveness needs.

A `client.properties` file (`PURCHASES_KAFKA_CONFIG`) wins over every default here. An option that
exactly-once needs is refused by name if the file says otherwise. What such files say to all kinds
of programs, and we must choose ourselves, is ignored (`IGNORED`).
"""

import socket
from functools import lru_cache
from pathlib import Path
from typing import Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from streaming.broker.identity import read_identity
from streaming.errors import UsageError
from streaming.kafka.client_log import ClientLog
from streaming.kafka.client_options import exposed_secret, reason_to_refuse, unverified_options
from streaming.kafka.java_options import translate_java_options
from streaming.kafka.properties import read_properties
from streaming.runtime.limits import GROUP_HEARTBEAT_SECONDS, SESSION_SECONDS, TRANSACTION_SECONDS
from streaming.settings import PREFIX, Settings

Config = dict[str, str | int | float | bool]

COMMON: Final[Config] = {
    # By default partitions that were added are noticed after five minutes.
    "topic.metadata.refresh.interval.ms": 10_000,
    # By default up to ten seconds, longer than the session of a group's member.
    "reconnect.backoff.max.ms": 1_000,
    # Firewalls forget connections over which nothing is sent.
    "socket.keepalive.enable": True,
    # The error callback logs instead, once a second (`ErrorWatch`).
    "log_level": 0,
    # Even so librdkafka prints fatal errors, past our log.
    "logger": ClientLog(),  # type: ignore[dict-item]  # the clients' types do not know it
}
PRODUCER: Final[Config] = {
    "acks": "all",
    "enable.idempotence": True,
    # As Java clients have it: librdkafka's own are five minutes.
    "delivery.timeout.ms": 120_000,
    # As Java clients do, so that a key has one partition whoever sends it.
    "partitioner": "murmur2_random",
    "compression.type": "lz4",
    "linger.ms": 5,
}
TRANSACTIONAL: Final[Config] = {
    **PRODUCER,
    "transaction.timeout.ms": TRANSACTION_SECONDS * 1000,
    # A record that is delivered later would find its transaction aborted by the broker.
    "delivery.timeout.ms": TRANSACTION_SECONDS * 1000,
    "message.max.bytes": 17 * 1024 * 1024,
    "linger.ms": 2,
    "metadata.recovery.strategy": "none",
}
"""With `rebootstrap` librdkafka gives its brokers up when all connections break, and a call that
waits for one of those as coordinator never returns (#5456). `message.max.bytes` holds the largest
dead letter (16 MiB) with its headers."""
CONSUMER: Final[Config] = {
    # Of `purchases` too: its senders may use transactions, and what one aborted was never bought.
    "isolation.level": "read_committed",
    "enable.auto.commit": False,
    # Positions are looked up where they are stored; Kafka never chooses one by itself.
    "auto.offset.reset": "error",
    # With KIP-848 a killed member can take the coordinator of Kafka 4.3.1 down
    # (docs/decisions/0009).
    "group.protocol": "classic",
    # A rebalance stops only the partitions that move.
    "partition.assignment.strategy": "cooperative-sticky",
    "session.timeout.ms": SESSION_SECONDS * 1000,
    "heartbeat.interval.ms": GROUP_HEARTBEAT_SECONDS * 1000,
    "fetch.wait.max.ms": 100,
    # By default a fetcher whose queue was full pauses for a second, also before a backlog.
    "fetch.queue.backoff.ms": 20,
    # These two bound a worker's memory before a backlog. The second counts values alone: behind
    # large keys and headers `GroupConsumer` pauses.
    "max.partition.fetch.bytes": 262_144,
    "queued.max.messages.kbytes": 8_192,
}
REQUIRED: Final[Config] = {
    "acks": "all",
    "enable.idempotence": True,
    "partitioner": "murmur2_random",
    "isolation.level": "read_committed",
    "group.protocol": "classic",
    "partition.assignment.strategy": "cooperative-sticky",
}
ROLES: Final = PRODUCER | TRANSACTIONAL | CONSUMER
"""What a file may tune of one kind of client."""
IGNORED: Final = frozenset(
    {
        # Ours says which host works a slot (docs/decisions/0018).
        "client.id",
        # The file's 45 s are a hint for old clients; another host would wait as long for a slot.
        "session.timeout.ms",
        "heartbeat.interval.ms",
        # Positions are looked up where they are stored, and committed with what they count.
        "auto.offset.reset",
        "enable.auto.commit",
    }
)
"""Options that a cluster hands out for any program, and that are not the file's to choose here."""
OURS: Final = frozenset({"group.id", "group.instance.id", "transactional.id"})
# Java's spellings of these values.
SAME: Final = {"-1": "all", "true": "True", "false": "False"}


def common_config(settings: Settings, bootstrap_servers: str, client: str) -> Config:
    """Return what every client has. `client` names the part, such as `processor-0`.

    Raises `UsageError` if the file would send a secret unencrypted to another host.
    """
    connection = _connection(settings)
    servers = str(connection.get("bootstrap.servers", bootstrap_servers))
    exposed = exposed_secret(connection, servers)
    if exposed is not None:
        raise UsageError(
            f"{PREFIX}KAFKA_CONFIG: {settings.kafka_config} would send {exposed} unencrypted; use"
            " TLS (SASL_SSL, https), or an address of this host."
        )
    return {
        **COMMON,
        "bootstrap.servers": bootstrap_servers,
        **connection,
        "client.id": f"purchases-{client}@{socket.gethostname()}:{settings.home}",
    }


def producer_config(settings: Settings, bootstrap_servers: str, client: str) -> Config:
    """Return the configuration of a producer of `purchases`: idempotent, acknowledged by all."""
    common = common_config(settings, bootstrap_servers, client)
    return {**PRODUCER, **common, **_overrides(settings, PRODUCER)}


def transactional_config(
    settings: Settings, bootstrap_servers: str, client: str, transactional_id: str
) -> Config:
    """Return the configuration of the processor's producer."""
    common = common_config(settings, bootstrap_servers, client)
    own: Config = {"transactional.id": transactional_id}
    return {**TRANSACTIONAL, **common, **_overrides(settings, TRANSACTIONAL), **own}


def consumer_config(
    settings: Settings, bootstrap_servers: str, client: str, group: str, instance: str | None = None
) -> Config:
    """Return the configuration of a read-committed consumer; with `instance`, a static member."""
    common = common_config(settings, bootstrap_servers, client)
    own: Config = {"group.id": group}
    if instance is not None:
        own["group.instance.id"] = instance
    return {**CONSUMER, **common, **_overrides(settings, CONSUMER), **own}


def read_client_properties(path: Path) -> dict[str, str]:
    """Return the options of a `client.properties` file by name, without those of `IGNORED`.

    Raises `UsageError` naming file and line as `read_properties` and `translate_java_options` do,
    and for an option that is ours to set, that exactly-once needs to be another, that is not taken
    from a file, or that librdkafka does not take.
    """
    source = f"{PREFIX}KAFKA_CONFIG: {path}"
    translated = translate_java_options(read_properties(path), source)
    properties = {name: option for name, option in translated.items() if name not in IGNORED}
    for name, (value, line) in properties.items():
        where = f"{source}:{line} sets {name}"
        if name in OURS:
            raise UsageError(f"{where}, which purchases sets itself; remove the line.")
        needed = REQUIRED.get(name)
        if needed is not None and SAME.get(value.lower(), value) != str(needed):
            raise UsageError(
                f"{where}={value}, but exactly-once needs {str(needed).lower()}; remove the line."
            )
    for name, (_, line) in properties.items():
        reason = None if name in ROLES else reason_to_refuse(name)
        if reason is not None:
            raise UsageError(f"{source}:{line} sets {name}, {reason}; remove the line.")
    options = {name: value for name, (value, _) in properties.items()}
    problem = _refusal_of(tuple(options.items()))
    if problem is not None:
        lines = [p.line for name, p in properties.items() if name in problem]
        lines += [p.line for p in properties.values() if p.value and p.value in problem]
        at = f":{lines[0]}" if lines else ""
        raise UsageError(f"{source}{at}: {problem}; correct or remove it.")
    return options


def unverified_connection(settings: Settings) -> tuple[str, ...]:
    """Return the options, with values, by which the broker's certificate is not verified."""
    return unverified_options(_connection(settings))


@lru_cache(maxsize=4)
def _refusal_of(options: tuple[tuple[str, str], ...]) -> str | None:
    """Return why librdkafka does not take these options; None if it does.

    Its answer is kept, because the file is read for each client and making one takes a while.
    """
    # Without servers it connects to nobody.
    config = {name: value for name, value in options if name != "bootstrap.servers"}
    try:
        AdminClient({"log_level": 0, **config})
    except KafkaException as error:
        text = str(error.args[0].str()).removeprefix("Failed to create admin client: ")
        return text.strip().rstrip(".")
    return None


def _connection(settings: Settings) -> Config:
    """Return the file's options that any client knows (where and how to connect)."""
    return {
        name: value for name, value in _file(settings).items() if name not in PRODUCER | CONSUMER
    }


def _overrides(settings: Settings, role: Config) -> Config:
    return {name: value for name, value in _file(settings).items() if name in role}


def _file(settings: Settings) -> dict[str, str]:
    """Return the options of the named file, or those by which we log in at the embedded broker."""
    if settings.kafka_config is not None:
        return read_client_properties(settings.kafka_config)
    identity = read_identity(settings.home) if settings.embedded_broker else None
    return {} if identity is None else identity.client_properties
