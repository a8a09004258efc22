"""Asking a schema registry: one request and its answer, bounded in time and size.

What an answer means is the caller's matter. No redirection is followed, so a password goes to the
registry's own address only.
"""

import socket
from base64 import b64encode
from contextlib import suppress
from threading import Timer
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import msgspec
from msgspec import Struct

from streaming.errors import Unavailable, UsageError
from streaming.kafka.registry.address import AUTHORITY, USER_INFO, RegistryAddress
from streaming.settings import PREFIX

if TYPE_CHECKING:
    from http.client import HTTPConnection

ANSWER_SECONDS: Final = 5.0
"""For a whole answer, however slowly it comes. Shorter than the watchdog of a worker."""
MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Schemas of purchases have some KiB."""
TYPES: Final = "schemas/types"
"""What only a registry lists."""
CONTENT: Final = "application/vnd.schemaregistry.v1+json"
UNAUTHORIZED: Final = 401
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
        """Whether it is a registry's own refusal, which has a code."""
        content = self.json()
        return isinstance(content, dict) and isinstance(content.get("error_code"), int)

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
        answer = _exchange(address, path, method, content, within)
    except (OSError, HTTPException) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        text = str(reason) or f"no whole answer in {within:g} s"
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


def no_registry(address: RegistryAddress, path: str, status: int) -> Unavailable:
    """Return the error that another program answers there, as at a mistyped address."""
    return Unavailable(
        f"{address.url} does not answer as a schema registry ({status} for {path}); correct its"
        " address."
    )


def _exchange(
    address: RegistryAddress, path: str, method: str, content: object, seconds: float
) -> Answer:
    url = urlsplit(address.url)
    headers = {"Accept": f"{CONTENT}, application/json", "Content-Type": CONTENT}
    if address.user_info is not None:
        headers["Authorization"] = f"Basic {b64encode(address.user_info.encode()).decode()}"
    body = None if content is None else msgspec.json.encode(content)
    connection = _connection(address, seconds)
    sockets: list[socket.socket] = []
    # A timeout of the socket begins again with each byte that comes.
    end = Timer(seconds, _shut_down, [connection, sockets])
    end.daemon = True
    end.start()
    try:
        connection.connect()
        # The connection forgets it as soon as the registry says that it will close it.
        sockets.append(connection.sock)
        connection.request(method, f"{url.path}/{path}", body, headers)
        response = connection.getresponse()
        answer = response.read(MAX_ANSWER_BYTES + 1)
        whole = len(answer) <= MAX_ANSWER_BYTES
        if whole and response.length:
            raise OSError("the answer ended too early")
        return Answer(response.status, answer if whole else None)
    finally:
        end.cancel()
        connection.close()


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


def _shut_down(connection: "HTTPConnection", sockets: list[socket.socket]) -> None:
    """End what another thread reads of a connection; it may still be at TLS's handshake."""
    for one in {*sockets, connection.sock} - {None}:
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
