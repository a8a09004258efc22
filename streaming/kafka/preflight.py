"""Before a command works with Kafka: is the broker there, are the topics, may we; in 5 seconds.

librdkafka retries in silence, so the evidence is what its error callback hears meanwhile. What the
evidence means is one table. Which permissions lack is found in `permissions`.
"""

import re
import socket
import ssl
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from streaming.errors import PurchasesError, Unavailable
from streaming.kafka.acls import Rule, note_sentences, processor_rules
from streaming.kafka.bootstrap import bootstrap_servers, no_broker
from streaming.kafka.config import common_config
from streaming.kafka.names import Names
from streaming.kafka.permissions import find_permissions
from streaming.kafka.topics import Topic
from streaming.settings import Settings
from streaming.system.deadline import Deadline

DEADLINE_SECONDS: Final = 4.5
"""Shorter than the five seconds within which a command says what is wrong, and than a worker's
watchdog."""
PATIENT_SECONDS: Final = 20.0
"""For a command whose cluster shows nothing that is wrong, and may only be slow."""
CONNECT_SECONDS: Final = 1.0
"""Of one address of several: one that drops packets must not take the whole deadline."""
FIRST_LOOK_SECONDS: Final = 0.3
"""After it the evidence is looked at: librdkafka retries in silence until the whole deadline."""

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
        "failed to acquire sasl oauthbearer token: ",
        (
            "is not asked, because no token is given out ({reason}); check"
            " sasl.oauthbearer.client.id, sasl.oauthbearer.client.secret and"
            " sasl.oauthbearer.token.endpoint.url"
        ),
    ),
    (
        KafkaError._AUTHENTICATION,
        '{"status":"invalid_token"}',
        (
            "does not accept the token of this user; check sasl.oauthbearer.scope and"
            " sasl.oauthbearer.extensions"
        ),
    ),
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
"""Code, part of the text in lower case, and what it means; the first row that fits is said.

`{reason}` is what follows that part."""

_NODE = re.compile(r"(?:\w+://)?(\S+:\d+)/\d+: ", re.ASCII).match
"""How an error names a broker with a node id, which the client knows from the metadata."""


@dataclass(frozen=True)
class Cluster:
    """The cluster that answered, and the asked-for topics that exist.

    `notes` are sentences about permissions that lack, but without which it works.
    """

    bootstrap_servers: str
    cluster_id: str
    topics: Mapping[str, Topic]
    notes: tuple[str, ...] = ()


def preflight(
    settings: Settings,
    needs: Sequence[Rule] = (),
    *,
    optional: Sequence[str] = (),
    patient: bool = True,
) -> Cluster:
    """Connect, and check that the topics of `needs` exist and that we may do what it says.

    A topic that is `optional` may be missing; if it exists, the permissions on it count. Raises
    `PurchasesError` within 5 seconds, saying what is wrong, with all permissions that lack, and
    what to do; `Unavailable` if no broker answers. A cluster that says nothing at all is waited
    for, if `patient` for 20 seconds.
    """
    deadline = Deadline.after(PATIENT_SECONDS if patient else DEADLINE_SECONDS)
    servers = bootstrap_servers(settings)
    _require_listener(settings, servers)
    evidence: Evidence = []
    config = common_config(settings, servers, "preflight")
    heard: dict[str, Any] = {"error_cb": lambda error: evidence.append((error.code(), error.str()))}
    admin = AdminClient({**config, **heard})
    cluster_id = _cluster_id(admin, config, evidence, deadline)
    # Of its own: the probe of a transactional id takes seconds if each answer takes a fifth of one.
    asking = Deadline.after(DEADLINE_SECONDS) if patient else deadline
    report = find_permissions(admin, config, needs, optional, asking)
    return Cluster(servers, cluster_id, report.topics, note_sentences(report.unnoticed))


def preflight_processor(
    settings: Settings, slots: Sequence[int], *, patient: bool = True
) -> Cluster:
    """Check what the processor needs in these slots. Raises as `preflight` does."""
    names = Names.of(settings)
    rules = processor_rules(names, slots)
    return preflight(settings, rules, optional=[names.redrive], patient=patient)


def _require_listener(settings: Settings, servers: str) -> None:
    """Find out by plain sockets whether the names resolve and something listens."""
    # librdkafka retries such a connection until the deadline, and names no cause.
    problems = [_problem(server.strip()) for server in servers.split(",")]
    if all(problems):
        if settings.embedded_broker:
            raise no_broker(settings)
        raise Unavailable(f"{problems[0]} Check PURCHASES_BOOTSTRAP_SERVERS ({servers}).")


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
    seconds, conclusive = FIRST_LOOK_SECONDS, Deadline.after(DEADLINE_SECONDS)
    # An error that has no meaning of its own may still be one of a broker that is just starting.
    while not deadline.is_over() and not (evidence and conclusive.is_over()):
        # The error callback, which collects the evidence, runs only in a poll.
        admin.poll(0)
        said = _meaning(evidence)
        if said == NOT_TRUSTED and _is_for_another_host(servers, config.get("ssl.ca.location")):
            said = OTHER_HOST
        if said is not None:
            raise PurchasesError(f"The broker at {servers} {said}.")
        try:
            listed = admin.list_topics(timeout=min(seconds, deadline.left()))
        except KafkaException:
            # An answer that comes after its question was given up counts for nothing: with the
            # same time again, a cluster that needs a little longer would never have answered.
            seconds *= 2
            continue
        # From now on the client connects to these, whatever address it was given.
        advertised = [f"{broker.host}:{broker.port}" for broker in listed.brokers.values()]
        _require_reachable(advertised, servers, deadline)
        return str(listed.cluster_id)
    # A client that has learned the advertised addresses may ask no other again.
    nodes = (_NODE(text) for _, text in evidence)
    _require_reachable(dict.fromkeys(node[1] for node in nodes if node), servers, deadline)
    last = f" ({evidence[-1][1]})" if evidence else ""
    raise Unavailable(
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
        for heard, text in evidence:
            at = text.lower().find(part)
            if code == heard and at >= 0:
                return meaning.replace("{reason}", text[at + len(part) :])
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
