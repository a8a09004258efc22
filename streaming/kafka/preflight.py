"""Before a command works with Kafka: is the broker there, are the topics, may we; in 5 seconds.

librdkafka retries in silence, so the evidence is what its error callback hears meanwhile. What the
evidence means is one table.
"""

import re
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation, AdminClient  # type: ignore[attr-defined]

from streaming.apps import PROCESSOR
from streaming.errors import PurchasesError
from streaming.kafka.bootstrap import bootstrap_servers, no_broker
from streaming.kafka.config import common_config
from streaming.kafka.names import Names
from streaming.kafka.topics import NO_DESCRIPTION, Topic, topic_id_of
from streaming.settings import Settings
from streaming.system.deadline import Deadline

DEADLINE_SECONDS: Final = 4.5
"""Shorter than the five seconds within which a command says what is wrong."""
CONNECT_SECONDS: Final = 1.0
SLICE_SECONDS: Final = 0.3
"""Between two looks at the evidence: librdkafka retries in silence until the whole deadline."""

Evidence = list[tuple[int, str]]

NOT_TRUSTED: Final = (
    "has a TLS certificate that is not trusted; name its authority in ssl.ca.location"
)
OTHER_HOST: Final = (
    "has a TLS certificate for another host name; connect by the name that it is for"
)
HOST_MISMATCH: Final = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH."""

EVIDENCE: Final[tuple[tuple[int, str, str], ...]] = (
    (
        KafkaError._AUTHENTICATION,
        "",
        "does not accept user and password; check sasl.username, sasl.password and sasl.mechanism",
    ),
    (
        KafkaError._SSL,
        "certificate verify failed",
        NOT_TRUSTED,
    ),
    (
        KafkaError._SSL,
        "",
        "does not speak TLS as this client does; check security.protocol (is it a plaintext port?)",
    ),
    (
        KafkaError._TRANSPORT,
        "security.protocol",
        "ends the connection at once, as a TLS port does; check security.protocol",
    ),
)
"""Code, part of the text in lower case, and what it means; the first row that fits is said."""

MISSING: Final = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.TOPIC_AUTHORIZATION_FAILED)
"""Who may not see a topic is not told whether it exists."""


_NODE = re.compile(r"(?:\w+://)?(\S+:\d+)/\d+: ", re.ASCII).match
"""How an error names a broker with a node id, which the client knows from the metadata."""


@dataclass(frozen=True)
class Cluster:
    """The cluster that answered, and the asked-for topics that exist."""

    bootstrap_servers: str
    cluster_id: str
    topics: Mapping[str, Topic]


def preflight(
    settings: Settings,
    *,
    reads: Sequence[str] = (),
    writes: Sequence[str] = (),
    optional: Sequence[str] = (),
    group: str | None = None,
) -> Cluster:
    """Connect, and check that the topics exist and that we may read and write them.

    A topic that is `optional` too may be missing; if it exists, the permissions on it count.
    Raises `PurchasesError` within 5 seconds, saying what is wrong and what to do. Whether
    a transactional id may be used shows only when the processor initialises it.
    """
    deadline = Deadline.after(DEADLINE_SECONDS)
    servers = bootstrap_servers(settings)
    _require_listener(settings, servers)
    evidence: Evidence = []
    config: dict[str, Any] = {**common_config(settings, servers, "preflight")}
    config["error_cb"] = lambda error: evidence.append((error.code(), error.str()))
    admin = AdminClient(config)
    cluster_id = _cluster_id(admin, config, evidence, deadline)
    operations: dict[str, set[Any]] = {name: set() for name in (*reads, *writes, *optional)}
    for name in reads:
        operations[name].add(AclOperation.READ)
    for name in writes:
        operations[name].add(AclOperation.WRITE)
    topics = _topics(admin, operations, set(optional), deadline)
    if group is not None:
        _require_group(admin, group, deadline)
    return Cluster(servers, cluster_id, topics)


def preflight_processor(settings: Settings) -> Cluster:
    """Check what the processor needs: its topics, its group. Raises as `preflight` does.

    What it writes it reads too, to end what a broker forgot to end there.
    """
    names = Names.of(settings)
    written = [names.analytics, names.dead_letters]
    return preflight(
        settings,
        reads=[*names.read_by(PROCESSOR), *written],
        writes=written,
        optional=[names.redrive],
        group=names.processor_group,
    )


def _require_listener(settings: Settings, servers: str) -> None:
    """Find out by plain sockets whether the names resolve and something listens."""
    problems = [_problem(server.strip()) for server in servers.split(",")]
    if all(problems):
        if settings.embedded_broker:
            raise no_broker(settings)
        raise PurchasesError(f"{problems[0]} Check PURCHASES_BOOTSTRAP_SERVERS ({servers}).")


def _problem(server: str) -> str | None:
    host, _, port = server.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65_536:
        return f"{server!r} is not host:port."
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except socket.gaierror:
        return f"The host name {host} is not known."
    except TimeoutError:
        return f"{server} does not answer (a firewall, or another address?)."
    except OSError as error:
        return f"Nothing listens at {server} ({error.strerror}); is the broker running?"
    return None


def _cluster_id(
    admin: AdminClient, config: Mapping[str, Any], evidence: Evidence, deadline: Deadline
) -> str:
    servers = str(config["bootstrap.servers"])
    while not deadline.is_over():
        # The error callback, which collects the evidence, runs only in a poll.
        admin.poll(0)
        said = _meaning(evidence)
        if said == NOT_TRUSTED and _is_for_another_host(servers, config.get("ssl.ca.location")):
            said = OTHER_HOST
        if said is not None:
            raise PurchasesError(f"The broker at {servers} {said}.")
        try:
            listed = admin.list_topics(timeout=SLICE_SECONDS)
        except KafkaException:
            continue
        advertised = [f"{broker.host}:{broker.port}" for broker in listed.brokers.values()]
        _require_reachable(advertised, servers, deadline)
        return str(listed.cluster_id)
    # A client that has learned the advertised addresses may ask no other again.
    nodes = (_NODE(text) for _, text in evidence)
    _require_reachable(dict.fromkeys(node[1] for node in nodes if node), servers, deadline)
    last = f" ({evidence[-1][1]})" if evidence else ""
    raise PurchasesError(
        f"Something listens at {servers}, but does not answer as a Kafka broker does{last}; check"
        " the port and security.protocol (is it a TLS port?)."
    )


def _require_reachable(advertised: Iterable[str], servers: str, deadline: Deadline) -> None:
    """Raise `PurchasesError` if none of the addresses that the brokers advertise is reached."""
    first = None
    for address in advertised:
        problem = _problem(address)
        if problem is None:
            return
        first = first or problem
        if deadline.is_over():
            break
    if first is not None:
        raise PurchasesError(
            f"{first} The broker at {servers} sends its clients to that address: correct its"
            " advertised.listeners, or make the address reachable from here."
        )


def _meaning(evidence: Evidence) -> str | None:
    for code, part, meaning in EVIDENCE:
        if any(code == heard and part in text.lower() for heard, text in evidence):
            return meaning
    return None


def _is_for_another_host(servers: str, authority: str | None) -> bool:
    """Ask the certificate ourselves: librdkafka says the same of both mistakes."""
    first = servers.partition(",")[0].strip()
    host, _, port = first.rpartition("://")[2].rpartition(":")
    try:
        context = ssl.create_default_context(cafile=authority)
        with (
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")),
        ):
            return False
    except ssl.SSLCertVerificationError as error:
        return error.verify_code in HOST_MISMATCH
    except OSError:
        return False


def _topics(
    admin: AdminClient, operations: Mapping[str, set[Any]], optional: set[str], deadline: Deadline
) -> dict[str, Topic]:
    if not operations:
        return {}
    found = {}
    left = deadline.left(least=1.0)
    futures = admin.describe_topics(
        TopicCollection(list(operations)), include_authorized_operations=True, request_timeout=left
    )
    for name, future in futures.items():
        try:
            description = future.result(left)
        except TimeoutError:
            raise PurchasesError(NO_DESCRIPTION.format(name=name)) from None
        except KafkaException as error:
            if error.args[0].code() in MISSING and name in optional:
                continue
            raise _topic_problem(name, error.args[0], operations[name]) from None
        _require_allowed("topic", name, operations[name], description.authorized_operations)
        found[name] = Topic(name, topic_id_of(description), len(description.partitions))
    return found


def _topic_problem(name: str, error: KafkaError, wanted: set[Any]) -> PurchasesError:
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return PurchasesError(
            f"The topic {name} does not exist; create it with `purchases topics create`."
        )
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return PurchasesError(
            f"This user lacks the permission {_names(wanted or {AclOperation.DESCRIBE})} on the"
            f" topic {name}; grant it. Or there is no such topic: `purchases topics create`."
        )
    return PurchasesError(f"The topic {name} cannot be described: {error.str()}.")


def _require_group(admin: AdminClient, group: str, deadline: Deadline) -> None:
    left = deadline.left(least=1.0)
    future = admin.describe_consumer_groups(
        [group], include_authorized_operations=True, request_timeout=left
    )[group]
    try:
        allowed = future.result(left).authorized_operations
    except KafkaException as error:
        # Other errors are the coordinator's, which may be elsewhere in a moment: the worker waits
        # for it.
        if error.args[0].code() == KafkaError.GROUP_AUTHORIZATION_FAILED:
            raise PurchasesError(
                f"This user lacks the permission READ on the group {group}; grant it."
            ) from None
        return
    except TimeoutError:
        return
    _require_allowed("group", group, {AclOperation.READ}, allowed)


def _require_allowed(kind: str, name: str, wanted: set[Any], allowed: Sequence[Any] | None) -> None:
    """Compare with what the broker says we may do; one that says nothing is believed later."""
    lacking = wanted - set(allowed or wanted)
    if lacking:
        raise PurchasesError(
            f"This user lacks the permission {_names(lacking)} on the {kind} {name}; grant it."
        )


def _names(operations: set[Any]) -> str:
    return " and ".join(sorted(operation.name for operation in operations))
