"""What a deployment needs of its host and its cluster: each check with its result.

Unlike `collect` it judges what must be right before anything runs. How it is printed is the
command's.
"""

import ctypes
import os
import platform
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

from confluent_kafka import KafkaException, TopicPartition, libversion
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]  # theirs
from msgspec import Struct

from streaming.broker.embedded import broker_status
from streaming.broker.identity import read_identity
from streaming.errors import PurchasesError, Unavailable
from streaming.kafka.acls import app_rules
from streaming.kafka.config import common_config
from streaming.kafka.names import Names
from streaming.kafka.preflight import Cluster, preflight
from streaming.settings import Settings
from streaming.store.connection import SCHEMA_VERSION, read_store, store_exists
from streaming.store.dialect import engine_version
from streaming.store.sql_tables import read_sql_tables
from streaming.system.disk_space import LEAST_FREE_BYTES, free_bytes
from streaming.system.home import Home
from streaming.system.lease import holder
from streaming.system.privacy import UMASK

AHEAD_SECONDS: Final = 5.0
"""Two hosts that both follow NTP differ by less; what a producer calls the future begins later."""
SCARCE_BYTES: Final = 2 * 2**30
"""Kafka's jars, a database of a million events and its backup fit in it."""
CLOCK_ERROR: Final = 5
"""What `adjtimex` returns (TIME_ERROR) if nothing keeps the clock right."""
ANSWER_SECONDS: Final = 3.0
"""How long the broker's newest record is waited for; without it the clocks are a warning."""

State = Literal["ok", "warning", "failed"]


class Check(Struct, frozen=True):
    """One check: what was looked at, its state, its detail, and what to do about it."""

    name: str
    state: State
    detail: str
    remedy: str = ""


class Examination(Struct, frozen=True):
    """All checks; `healthy` unless one has failed."""

    healthy: bool
    checks: tuple[Check, ...]


def examine(settings: Settings) -> Examination:
    """Check permissions, disk, versions, ports, clocks and the cluster, none of them for long."""
    checks = tuple(
        check
        for part in (_permissions, _disk, _versions, _ports, _local_clock, _sql, _cluster)
        for check in part(settings)
    )
    return Examination(all(check.state != "failed" for check in checks), checks)


def _permissions(settings: Settings) -> Iterator[Check]:
    home = settings.home
    if not home.exists():
        yield Check("home", "ok", f"{home} is made by the first start")
        return
    about = home.stat()
    if not os.access(home, os.W_OK | os.X_OK):
        remedy = "give it to this user, or name another PURCHASES_HOME"
        yield Check("home", "failed", f"{home} may not be written by this user", remedy)
    elif about.st_uid != os.geteuid():
        yield Check("home", "ok", f"{home} is another user's, and may be written")
    elif stat.S_IMODE(about.st_mode) & UMASK:
        detail = f"{home} is open to other users of this machine (mode {about.st_mode & 0o777:o})"
        yield Check("home", "warning", detail, f"chmod 700 {home}; the next start does it")
    else:
        yield Check("home", "ok", f"{home} is this user's alone")


def _disk(settings: Settings) -> Iterator[Check]:
    free = free_bytes(settings.home)
    if isinstance(settings.database, Path):
        free = min(free, free_bytes(settings.database))
    detail = f"{free / 2**30:,.1f} GiB free"
    if free >= SCARCE_BYTES:
        yield Check("disk", "ok", detail)
    else:
        state: State = "failed" if free < LEAST_FREE_BYTES else "warning"
        least = f"below {LEAST_FREE_BYTES // 2**20} MiB nothing is written"
        yield Check(
            "disk", state, f"{detail}; {least}", "free some: docs/how-to/free-disk-space.md"
        )


def _versions(settings: Settings) -> Iterator[Check]:
    ours = f"Python {platform.python_version()}, librdkafka {libversion()[0]}"
    try:
        if not store_exists(settings):
            yield Check("versions", "ok", f"{ours}; no database yet")
            return
        with read_store(settings) as store:
            engine = engine_version(store)
    except Unavailable as error:
        yield Check("versions", "failed", f"{ours}; {error}", "wait for the database, or mend it")
    except PurchasesError as error:
        yield Check("versions", "failed", f"{ours}; {error}", "see docs/how-to/upgrade.md")
    else:
        detail = f"{ours}, {engine}; the database has schema version {SCHEMA_VERSION}"
        yield Check("versions", "ok", detail)


def _ports(settings: Settings) -> Iterator[Check]:
    """Check that the ports chosen at earlier starts are free, or held by our own processes."""
    home = Home(settings.home)
    for name, service, file, remedy in (
        ("the dashboard", "page", home.dashboard_port, "set another PURCHASES_DASHBOARD_PORT"),
        ("Dagster", "webserver", home.webserver_port, "the next `up` takes another"),
    ):
        if not file.is_file():
            continue
        port = int(file.read_text())
        # One that was started by hand holds no lease: the port may be in use by itself.
        if holder(home.service_lease(service)) is None:
            taken = f"{port} is in use, and not by {name} of `up`"
            yield _port(f"port of {name}", port, taken, remedy)
        else:
            yield Check(f"port of {name}", "ok", f"{port}, where it listens")
    identity = read_identity(settings.home) if settings.embedded_broker else None
    if identity and broker_status(settings.home).state == "stopped":
        taken = f"{identity.port} is taken by another program"
        yield _port("port of the broker", identity.port, taken, "end that program")


def _port(name: str, port: int, taken: str, remedy: str) -> Check:
    with socket.socket() as probe:
        # Without it a port counts as taken for a minute after its server has ended (TIME_WAIT).
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return Check(name, "warning", taken, remedy)
    return Check(name, "ok", f"{port} is free")


def _local_clock(_settings: Settings) -> Iterator[Check]:
    """Check that the kernel says that something keeps the clock right (Linux only)."""
    if not hasattr(libc := ctypes.CDLL(None), "adjtimex"):
        return
    # A `struct timex` of zeros only asks; it has 208 bytes on 64 bits.
    if libc.adjtimex(ctypes.create_string_buffer(512)) == CLOCK_ERROR:
        detail = "nothing keeps this host's clock right, says its kernel"
        yield Check("clock", "warning", detail, "run an NTP client, such as chrony")
    else:
        yield Check("clock", "ok", "this host's clock is kept right")


def _sql(settings: Settings) -> Iterator[Check]:
    """Check the `.sql` files, if there is a directory of them."""
    try:
        sql = read_sql_tables(settings)
    except Unavailable as error:
        yield Check("SQL tables", "failed", str(error), "wait for the database, or mend it")
        return
    for name, problem in sql.problems.items():
        yield Check(name, "failed", problem, "correct the file, or remove it")
    if sql.tables:
        yield Check("SQL tables", "ok", ", ".join(table.name for table in sql.tables))


def _cluster(settings: Settings) -> Iterator[Check]:
    names = Names.of(settings)
    needs = app_rules(settings)
    try:
        cluster = preflight(settings, needs, optional=names.topics)
    except PurchasesError as error:
        yield Check("cluster", "failed", str(error), "see docs/troubleshooting.md")
        return
    missing = [name for name in names.topics if name not in cluster.topics]
    detail = f"{cluster.bootstrap_servers} answers (cluster {cluster.cluster_id})"
    yield Check("cluster", "ok", f"{detail}, with all permissions that the apps need")
    if missing:
        lacking = f"missing: {', '.join(missing)}"
        yield Check("topics", "failed", lacking, "run `purchases topics create`")
        return
    yield Check("topics", "ok", f"all {len(names.topics)} exist")
    yield _broker_clock(settings, cluster, names.analytics)


def _broker_clock(settings: Settings, cluster: Cluster, topic: str) -> Check:
    """Compare this clock with the newest append time of `analytics`, which the broker sets."""
    admin = AdminClient(common_config(settings, cluster.bootstrap_servers, "doctor"))
    partitions = range(cluster.topics[topic].partitions)
    newest_record = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]  # theirs
    ask = {TopicPartition(topic, number): newest_record for number in partitions}
    try:
        answers = admin.list_offsets(ask, request_timeout=ANSWER_SECONDS).values()
        newest = max(answer.result().timestamp for answer in answers) / 1000
    except KafkaException as error:
        return Check("broker's clock", "warning", f"not known: {error.args[0].str()}")
    ahead = newest - time.time()
    if ahead > AHEAD_SECONDS:
        detail = f"the broker's is {ahead:,.0f} s ahead of this host's"
        return Check("broker's clock", "failed", detail, "run an NTP client on both")
    return Check("broker's clock", "ok", "not ahead of this host's")
