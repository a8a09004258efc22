"""Asking a schema registry: one request and its answer, bounded in time and size.

What an answer means is the caller's matter. No redirection is followed, so a password goes to the
registry's own address only.
"""

import socket
from base64 import b64encode
from concurrent.futures import Future
from contextlib import suppress
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from streaming.errors import Unavailable, UsageError
from streaming.formatting import printable
from streaming.kafka.registry.address import AUTHORITY, USER_INFO, RegistryAddress
from streaming.settings import PREFIX

if TYPE_CHECKING:
    from http.client import HTTPConnection

ANSWER_SECONDS: Final = 5.0
"""From looking its name up to the end of its answer. Shorter than the watchdog of a worker."""
MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Schemas of purchases have some KiB."""
TYPES: Final = "schemas/types"
"""What only a registry lists."""
SHOWN: Final = 300
"""Characters of what the registry says."""
CONTENT: Final = "application/vnd.schemaregistry.v1+json"
UNAUTHORIZED, NOT_FOUND = 401, 404
BUSY: Final = frozenset({407, 408, 425, 429})
"""Refusals that say nothing about what was asked for."""


class Answer(Struct, frozen=True):
    """An answer that says something about what was asked for, of at most 1 MiB; None if longer."""

    status: int
    body: bytes | None

    @property
    def ok(self) -> bool:
        """Whether the registry did what was asked."""
        return 200 <= self.status < 300

    @property
    def is_refusal(self) -> bool:
        """Whether it is a registry's own refusal: its codes, such as 40403, are of a status.

        Other programs of Kafka have the field too, with the status itself.
        """
        content = self.json()
        code = content.get("error_code") if isinstance(content, dict) else None
        return isinstance(code, int) and code // 100 == self.status

    def json(self) -> Any:  # noqa: ANN401 - whatever the registry says
        """Return the body's JSON; None if it is none."""
        try:
            return msgspec.json.decode(self.body or b"")
        except (ValueError, RecursionError):
            return None


def ask(
    address: RegistryAddress,
    path: str,
    method: str = "GET",
    content: object = None,
    seconds: float | None = None,
) -> Answer:
    """Return the registry's answer to a request for `path`, which begins without a slash.

    `content` is sent as JSON. Raises `Unavailable` if there is no answer in `seconds` (5 s), or one
    that says that the registry does not work now or does not know this user.
    """
    # Imported here and below: it takes 20 ms, which a worker without a registry need not spend.
    from http.client import HTTPException

    within = ANSWER_SECONDS if seconds is None else seconds
    try:
        answer = _answer_in_time(address, path, method, content, within)
    except (OSError, HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        text = printable(str(reason))[:SHOWN] or f"no whole answer in {within:g} s"
        raise Unavailable(f"The schema registry {address.url} does not answer: {text}.") from None
    if answer.status == UNAUTHORIZED:
        raise Unavailable(
            f"The schema registry {address.url} does not accept the user and password of"
            f" {USER_INFO}; correct them in the file that {PREFIX}KAFKA_CONFIG names."
        )
    if answer.status >= 500 or answer.status < 200 or answer.status in BUSY:
        raise Unavailable(f"The schema registry {address.url} answers with {answer.status}.")
    return answer


def version_path(reference: object) -> str:
    """Return the path of a version of a subject that another schema refers to."""
    subject = reference.get("subject") if isinstance(reference, dict) else None
    version = reference.get("version") if isinstance(reference, dict) else None
    return f"subjects/{quote(str(subject), safe='')}/versions/{quote(str(version), safe='')}"


def require_registry(address: RegistryAddress, path: str, answer: Answer) -> None:
    """Raise `Unavailable` if this refusal is another program's, as a mistyped address has."""
    if answer.status == NOT_FOUND and answer.is_refusal:
        return
    types = ask(address, TYPES)
    if not types.ok or not isinstance(types.json(), list):
        raise no_registry(address, path, answer.status)


def no_registry(address: RegistryAddress, path: str, status: int) -> Unavailable:
    """Return the error that another program answers there, as at a mistyped address."""
    return Unavailable(
        f"{address.url} does not answer as a schema registry ({status} for {path}); correct its"
        " address."
    )


def _answer_in_time(
    address: RegistryAddress, path: str, method: str, content: object, seconds: float
) -> Answer:
    """Return the answer. Raises `TimeoutError` after `seconds`, whatever is slow.

    Nothing else bounds a name server, several addresses of a name, and an answer that drips
    together.
    """
    connection = _connection(address, seconds)
    found: Future[Answer] = Future()
    over, sockets = Event(), list[socket.socket]()

    def exchange() -> None:
        try:
            connection.connect()
            # The connection forgets it as soon as the registry says that it will close it.
            sockets.append(connection.sock)
            if not over.is_set():
                found.set_result(_exchange(connection, address, path, method, content))
        except Exception as error:
            found.set_exception(error)
        finally:
            connection.close()

    Thread(target=exchange, name="schema-registry", daemon=True).start()
    try:
        return found.result(seconds)
    finally:
        over.set()
        # Ends what the thread reads; while it still connects, its own timeouts do.
        for one in sockets:
            with suppress(OSError):
                socket.socket.shutdown(one, socket.SHUT_RDWR)


def _exchange(
    connection: "HTTPConnection", address: RegistryAddress, path: str, method: str, content: object
) -> Answer:
    headers = {"Accept": f"{CONTENT}, application/json", "Content-Type": CONTENT}
    if address.user_info is not None:
        headers["Authorization"] = f"Basic {b64encode(address.user_info.encode()).decode()}"
    body = None if content is None else msgspec.json.encode(content)
    connection.request(method, f"{urlsplit(address.url).path}/{path}", body, headers)
    response = connection.getresponse()
    answer = response.read(MAX_ANSWER_BYTES + 1)
    whole = len(answer) <= MAX_ANSWER_BYTES
    if whole and response.length:
        raise OSError("the answer ended too early")
    return Answer(response.status, answer if whole else None)


def _connection(address: RegistryAddress, seconds: float) -> "HTTPConnection":
    from http.client import HTTPConnection, HTTPSConnection

    url = urlsplit(address.url)
    if url.scheme == "http":
        return HTTPConnection(url.hostname or "", url.port, timeout=seconds)
    # Imported here: most registries of a private network have no certificate.
    from ssl import create_default_context

    context = create_default_context()
    authority = address.authority
    if authority is not None:
        try:
            is_folder = authority.is_dir()
            context.load_verify_locations(
                cafile=None if is_folder else authority, capath=authority if is_folder else None
            )
        except OSError as error:
            raise UsageError(f"{AUTHORITY}={authority} cannot be read: {error.strerror}.") from None
    return HTTPSConnection(url.hostname or "", url.port, timeout=seconds, context=context)
