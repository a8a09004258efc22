"""Registries that are none, or mean harm: each answer has an end, and no password goes astray."""

import json
import socket
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from rich.pretty import pretty_repr

from streaming.errors import Unavailable, UsageError
from streaming.events.record import Record
from streaming.events.refusal import Refusal
from streaming.kafka.registry import client, schemas
from streaming.kafka.registry.address import RegistryAddress, registry_address
from streaming.kafka.registry.client import Answer
from streaming.kafka.registry.schemas import (
    ASKED_AT_ONCE,
    LEARN_SECONDS,
    MAX_REFERENCES,
    REFUSED_SECONDS,
    SchemaCache,
)
from streaming.kafka.registry.subjects import check_schemas
from streaming.runtime.counters import SchemaLookups
from streaming.runtime.status_file import WorkerStatus
from streaming.settings import Settings
from streaming.status import registry
from streaming.status.registry import read_registry_section

HEAD = b"HTTP/1.1 %s\r\nContent-Type: application/json\r\n"


@contextmanager
def answering(*answers: bytes, drip: bool = False) -> Iterator[tuple[str, list[bytes]]]:
    """Answer each request with the next bytes, the last ones again and again.

    Yield the address, and the requests that came. `drip` sends a byte at a time, without end.
    """
    requests: list[bytes] = []
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)

        def serve() -> None:
            while not over.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    requests.append(connection.recv(65_536))
                    try:
                        connection.sendall(answers[min(len(requests), len(answers)) - 1])
                        while drip and not over.wait(0.05):
                            connection.sendall(b" ")
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}", requests
        finally:
            over.set()
            thread.join()


def answer(status: bytes, body: bytes) -> bytes:
    """Write an answer with its length."""
    return HEAD % status + b"Content-Length: %d\r\n\r\n" % len(body) + body


def framed_record(number: int = 7) -> Record:
    """Return a record framed by that id."""
    return Record("purchases", bytes(16), 0, 0, 0, None, b"\0" + number.to_bytes(4) + b"{}")


TYPES = answer(b"200 OK", b'["AVRO"]')
UNKNOWN = answer(b"404 Not Found", b'{"error_code": 40403}')


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([answer(b"503 Busy", b"")], "answers with 503"),
        ([answer(b"429 Slow Down", b"")], "answers with 429"),
        ([answer(b"401 Unauthorized", b"")], "does not accept the user and password"),
        ([answer(b"404 Not Found", b"<html>")], "does not answer as a schema registry (404"),
        ([answer(b"200 OK", b"<html>")], "does not answer as a schema registry (200"),
        ([answer(b"302 Found", b"")], "does not answer as a schema registry (302"),
        # Who may see nothing, and another program of Kafka.
        (
            [answer(b"403 Forbidden", b'{"error_code": 40301}')],
            "does not answer as a schema registry (403",
        ),
        (
            [answer(b"404 Not Found", b'{"error_code": 404}')],
            "does not answer as a schema registry (404",
        ),
        ([b"\x1b[2J" + b"A" * 60_000 + b"\r\n"], "does not answer: \\x1b[2JAAA"),
        ([b"SSH-2.0-OpenSSH\r\n"], "does not answer"),
        ([HEAD % b"200 OK" + b"Content-Length: 100\r\n\r\n{"], "does not answer"),
        ([b""], "does not answer"),
    ],
)
def test_what_is_no_answer_refuses_nothing(answers: list[bytes], said: str) -> None:
    """The stream waits, and its state says for what."""
    with answering(*answers) as (url, _):
        cache = SchemaCache(RegistryAddress(url))
        with pytest.raises(Unavailable) as error:
            cache.learn([framed_record()])
        assert said in str(error.value)
        assert len(str(error.value)) < 400
        assert not cache.readers


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        ([UNKNOWN], "is not in the schema registry"),
        # Who may not see it, or a registry without GUIDs: neither is a reason to stop.
        (
            [answer(b"403 Forbidden", b'{"error_code": 40301}'), TYPES],
            "is not in the schema registry",
        ),
        ([answer(b"404 Not Found", b""), TYPES], "is not in the schema registry"),
        ([answer(b"200 OK", b'{"schema": 1}'), TYPES], "is no schema of text"),
        ([answer(b"200 OK", b'{"schema": "%s"}' % (b"x" * 2**20))], "is too large"),
        ([answer(b"200 OK", b"[" * 500_000), TYPES], "is no schema of text"),
        ([answer(b"200 OK", b'{"schema": "", "schemaType": "XML"}')], "is 'XML', which is not"),
        (
            [
                answer(
                    b"200 OK",
                    b'{"schema": "{}", "references": [{"subject": "%s", "version": 1}]}'
                    % (b"a" * 2_000),
                )
            ],
            "refers to too many others",
        ),
    ],
)
def test_what_a_producer_may_cause_refuses_its_record_and_goes_on(
    answers: list[bytes], said: str
) -> None:
    """Whoever may name an id, or register a schema, stops nobody by it."""
    with answering(*answers) as (url, _):
        cache = SchemaCache(RegistryAddress(url))
        cache.learn([framed_record()])
        refusal = cache.readers[7]
        assert isinstance(refusal, Refusal)
        assert said in refusal.detail
        assert len(refusal.detail) < 300


def test_an_answer_without_end_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte at a time begins no new timeout."""
    monkeypatch.setattr(client, "ANSWER_SECONDS", 1.0)
    for drips in (HEAD % b"200 OK" + b"Content-Length: 1000000\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "):
        with answering(drips, drip=True) as (url, _), pytest.raises(Unavailable):
            SchemaCache(RegistryAddress(url)).learn([framed_record()])


@pytest.mark.parametrize(
    ("answers", "drip", "said"),
    [
        ([answer(b"503 Busy", b"")], False, "answers with 503"),
        ([answer(b"401 Unauthorized", b"")], False, "does not accept the user and password"),
        ([answer(b"200 OK", b"<html>")], False, "does not answer as a schema registry (200"),
        ([HEAD % b"200 OK" + b"Content-Length: 1000000\r\n\r\n"], True, "does not answer: "),
    ],
)
def test_a_registry_that_does_not_answer_is_a_problem_of_the_status(
    answers: list[bytes], said: str, monkeypatch: pytest.MonkeyPatch, *, drip: bool
) -> None:
    """What the workers looked up before stays to be seen, and one without a registry counts 0."""
    if not drip:
        # On a busy machine even what comes at once may take longer than the status waits.
        monkeypatch.setattr(registry, "REGISTRY_SECONDS", 30.0)
    workers = [
        WorkerStatus("processor", 0, 1, lookups=SchemaLookups(3, 2, 1)),
        WorkerStatus("processor", 1, 1, lookups=SchemaLookups(1, 0, 0)),
        WorkerStatus("processor", 2, 1),
    ]
    with answering(*answers, drip=drip) as (url, _):
        section = read_registry_section(Settings(schema_registry_url=url), workers)
    assert section is not None
    assert [problem.code for problem in section.problems] == ["registry_down"]
    assert said in section.problems[0].sentence
    looked_up = {"schemas_found": 4, "schemas_refused": 2, "schemas_not_asked": 1}
    assert section.figures == {"answers": False} | looked_up


@pytest.mark.parametrize("part", ["http://registry..shop.example:8081", "/\xe4"])
def test_an_address_that_cannot_be_asked_is_one_that_does_not_answer(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with an empty label, or a path beyond ASCII: workers wait, and the status says so."""
    monkeypatch.setattr(registry, "REGISTRY_SECONDS", 30.0)
    with answering(TYPES) as (url, requests):
        address = url + part if part.startswith("/") else part
        with pytest.raises(Unavailable, match=r"does not answer: no request can be sent to this"):
            SchemaCache(RegistryAddress(address)).learn([framed_record()])
        section = read_registry_section(Settings(schema_registry_url=address), [])
    assert section is not None
    assert [problem.code for problem in section.problems] == ["registry_down"]
    assert not any(requests)


@pytest.mark.parametrize(
    "types", [TYPES, answer(b"403 Forbidden", b'{"error_code": 40301, "message": "no"}')]
)
def test_a_registry_that_answers_is_none(types: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that does not list its types for this user."""
    monkeypatch.setattr(registry, "REGISTRY_SECONDS", 30.0)
    with answering(types) as (url, requests):
        section = read_registry_section(Settings(schema_registry_url=url), [])
    assert section is not None
    assert section.figures["answers"] is True
    assert section.problems == ()
    assert requests[0].startswith(b"GET /schemas/types HTTP/1.1\r\n")


def test_a_name_server_that_is_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are the many addresses of a name, each of which has a timeout of its own."""
    monkeypatch.setattr(client, "ANSWER_SECONDS", 0.5)
    heard, late = threading.Event(), []

    def wait(*_: object, **__: object) -> list[object]:
        heard.wait(60)
        late.append(True)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", wait)
    try:
        with pytest.raises(Unavailable, match=r"no whole answer in 0\.5 s"):
            client.ask(RegistryAddress("http://registry.example"), "schemas/types")
        assert not late
    finally:
        heard.set()


def with_references() -> bytes:
    """Write a schema that refers to as many others as any may."""
    names = [{"subject": f"s{number}", "version": 1} for number in range(MAX_REFERENCES)]
    body = json.dumps({"schema": json.dumps("string"), "references": names})
    return answer(b"200 OK", body.encode())


def test_each_question_is_a_turn_of_the_worker() -> None:
    """Also one for a reference, so the watchdog waits for none of twenty, and a stop for one."""
    with answering(with_references(), UNKNOWN) as (url, requests):
        turns: list[int] = []

        def heartbeat() -> bool:
            turns.append(len(requests))
            return True

        SchemaCache(RegistryAddress(url)).learn([framed_record()], heartbeat)
        assert turns == list(range(len(requests))) == [0, 1]
    with answering(with_references(), answer(b"200 OK", b'{"schema": "5"}')) as (url, requests):
        turns = []
        SchemaCache(RegistryAddress(url)).learn([framed_record()], heartbeat)
        assert turns == list(range(MAX_REFERENCES + 1))
    with answering(with_references(), answer(b"200 OK", b'{"schema": "5"}')) as (url, requests):
        cache = SchemaCache(RegistryAddress(url))
        with pytest.raises(Unavailable, match="was ended"):
            cache.learn([framed_record()], lambda: len(requests) < 5)
        assert (len(requests), dict(cache.readers)) == (5, {})


def learn_slowly(
    monkeypatch: pytest.MonkeyPatch, seconds: float
) -> tuple[SchemaCache, list[float]]:
    """Return a cache of a registry that takes so long for each answer, and its clock."""
    now = [0.0]

    def ask_slowly(*_: object) -> Answer:
        now[0] += seconds
        return Answer(404, b'{"error_code": 40403}')

    monkeypatch.setattr(schemas, "ask", ask_slowly)
    return SchemaCache(RegistryAddress("http://registry.example"), lambda: now[0]), now


def test_a_slow_registry_holds_up_the_stream_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While many unknown ids come: each turn is short, and waiting allows no further questions."""
    cache, now = learn_slowly(monkeypatch, 0.8)
    stalled = []
    for batch in range(4):
        records = [framed_record(1 + batch * 500 + number) for number in range(500)]
        began, learnt = now[0], False
        while not learnt:
            turn = now[0]
            with suppress(Unavailable):
                cache.learn(records)
                learnt = True
            assert now[0] - turn < LEARN_SECONDS + 1
            # As a worker that is paused.
            now[0] += 0 if learnt else 1
        stalled.append(now[0] - began)
        now[0] += 1
    assert stalled[0] < ASKED_AT_ONCE
    assert max(stalled[1:]) < LEARN_SECONDS


def test_a_registry_that_is_away_uses_up_no_questions() -> None:
    """However often a worker asks meanwhile, it looks up all once there are answers."""
    with answering(*[b""] * (ASKED_AT_ONCE + 5), UNKNOWN) as (url, requests):
        cache = SchemaCache(RegistryAddress(url))
        while len(requests) < ASKED_AT_ONCE + 5:
            with pytest.raises(Unavailable):
                cache.learn([framed_record()])
        cache.learn([framed_record()])
    assert list(cache.readers) == [7]
    assert cache.lookups.unasked == 0


def test_threads_share_what_was_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of the dashboard do."""
    monkeypatch.setattr(schemas, "ASKED_AT_ONCE", 10_000)
    cache, _ = learn_slowly(monkeypatch, 1.0)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)

    def learn(first: int) -> None:
        for number in range(1_000):
            cache.learn([framed_record(first + number)])

    try:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(learn, range(1, 40_000, 10_000)))
    finally:
        sys.setswitchinterval(interval)
    assert cache.lookups.refused == 4_000


@pytest.mark.parametrize(
    "body", [b"<html>nginx</html>", b'{"error_code": 404, "message": "HTTP 404 Not Found"}']
)
def test_what_is_no_registry_fits_no_schema(body: bytes) -> None:
    """A build must not go on because its address is mistyped."""
    with (
        answering(answer(b"404 Not Found", body)) as (url, _),
        pytest.raises(Unavailable, match="does not answer as a schema registry"),
    ):
        check_schemas(Settings(schema_registry_url=url))
    with answering(answer(b"404 Not Found", b'{"error_code": 40401}')) as (url, _):
        checks = check_schemas(Settings(schema_registry_url=url))
        assert [one.compatible for one in checks] == [None, None]


def test_an_unknown_id_is_asked_for_again_after_a_minute() -> None:
    """It may be registered meanwhile; and a known one is never asked for again."""
    now = [0.0]
    with answering(
        UNKNOWN, UNKNOWN, answer(b"200 OK", b'{"schema": "", "schemaType": "JSON"}')
    ) as (
        url,
        requests,
    ):
        cache = SchemaCache(RegistryAddress(url), lambda: now[0])
        for _ in range(3):
            cache.learn([framed_record()])
        assert len(requests) == 1
        now[0] += REFUSED_SECONDS
        cache.learn([framed_record()])
        now[0] += REFUSED_SECONDS
        for _ in range(3):
            cache.learn([framed_record()])
        assert len(requests) == 3
        assert not isinstance(cache.readers[7], Refusal)


def test_the_password_goes_to_the_registry_alone(tmp_path: Path) -> None:
    """It comes from the client file, is not shown, and is not sent unencrypted to another host."""
    file = tmp_path / "client.properties"
    file.write_text("bootstrap.servers=b:9092\nbasic.auth.user.info=me:secret\n")
    with answering(UNKNOWN) as (url, requests):
        address = registry_address(Settings(kafka_config=file, schema_registry_url=f"{url}/x/"))
        assert address is not None
        assert "secret" not in repr(address) + pretty_repr(address)
        SchemaCache(address).learn([framed_record()])
        assert requests[0].startswith(b"GET /x/schemas/ids/7 HTTP/1.1\r\n")
        assert b"Authorization: Basic bWU6c2VjcmV0\r\n" in requests[0]
    with pytest.raises(UsageError, match=r"unencrypted to example\.com"):
        registry_address(Settings(kafka_config=file, schema_registry_url="http://example.com"))
    file.write_text("schema.registry.url=https://example.com/\nsasl.username=u\nsasl.password=p\n")
    address = registry_address(Settings(kafka_config=file))
    assert address == RegistryAddress("https://example.com")


@pytest.mark.parametrize(
    "url",
    ["registry:8081", "ftp://r", "http://u:p@r", "http://", "http://a,http://b", "http://r:x"],
)
def test_an_address_that_is_none_is_named_without_its_password(url: str) -> None:
    """At the start, with the setting."""
    with pytest.raises(UsageError, match="PURCHASES_SCHEMA_REGISTRY_URL is not the http") as error:
        registry_address(Settings(schema_registry_url=url))
    assert url not in str(error.value)


def test_without_a_registry_nothing_is_asked() -> None:
    """And no client is made."""
    assert registry_address(Settings()) is None
    assert read_registry_section(Settings(), []) is None
