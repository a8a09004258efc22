"""Asking a schema registry: who asks, and which answers are none of a registry.

What an answer means is the caller's matter. How one is waited for is in `system.http_exchange`.
"""

from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

import msgspec

from streaming.errors import Unavailable, UsageError
from streaming.kafka.registry.address import AUTHORITY, USER_INFO, RegistryAddress
from streaming.settings import PREFIX
from streaming.system.http_exchange import HttpAnswer, HttpRequest, exchange

if TYPE_CHECKING:
    from ssl import SSLContext

ANSWER_SECONDS: Final = 5.0
"""From looking its name up to the end of its answer. Shorter than the watchdog of a worker."""
MAX_ANSWER_BYTES: Final = 1024 * 1024
"""Schemas of purchases have some KiB."""
TYPES: Final = "schemas/types"
"""What only a registry lists."""
CONTENT: Final = "application/vnd.schemaregistry.v1+json"
UNAUTHORIZED, NOT_FOUND = 401, 404
BUSY: Final = frozenset({407, 408, 425, 429})
"""Refusals that say nothing about what was asked for."""


class Answer(HttpAnswer, frozen=True):
    """An answer that says something about what was asked for, of at most 1 MiB; None if longer."""

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
    headers = {"Accept": f"{CONTENT}, application/json", "Content-Type": CONTENT}
    if address.user_info is not None:
        headers["Authorization"] = f"Basic {b64encode(address.user_info.encode()).decode()}"
    body = None if content is None else msgspec.json.encode(content)
    request = HttpRequest(f"{address.url}/{path}", method, headers, body)
    within = ANSWER_SECONDS if seconds is None else seconds
    try:
        answer = exchange(request, within, MAX_ANSWER_BYTES, _context(address))
    except Unavailable as error:
        raise Unavailable(f"The schema registry {address.url} does not answer: {error}") from None
    if answer.status == UNAUTHORIZED:
        raise Unavailable(
            f"The schema registry {address.url} does not accept the user and password of"
            f" {USER_INFO}; correct them in the file that {PREFIX}KAFKA_CONFIG names."
        )
    if answer.status >= 500 or answer.status < 200 or answer.status in BUSY:
        raise Unavailable(f"The schema registry {address.url} answers with {answer.status}.")
    return Answer(answer.status, answer.body)


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


def _context(address: RegistryAddress) -> "SSLContext | None":
    """Return what also trusts the address's authority; None for the system's alone."""
    authority = address.authority
    if authority is None or urlsplit(address.url).scheme == "http":
        return None
    # Imported here: most registries of a private network have no certificate.
    from ssl import create_default_context

    context = create_default_context()
    try:
        is_folder = authority.is_dir()
        context.load_verify_locations(
            cafile=None if is_folder else authority, capath=authority if is_folder else None
        )
    except OSError as error:
        raise UsageError(f"{AUTHORITY}={authority} cannot be read: {error.strerror}.") from None
    return context
