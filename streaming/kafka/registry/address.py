"""Where the schema registry is, and by which user: from the settings and the client file."""

from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import Struct

from streaming.errors import UsageError
from streaming.kafka.properties import Property, read_properties
from streaming.settings import PREFIX, Settings
from streaming.system.loopback import is_loopback

URL: Final = "schema.registry.url"
USER_INFO: Final = "basic.auth.user.info"
USER_SOURCE: Final = "basic.auth.credentials.source"
AUTHORITY: Final = "ssl.ca.location"


class RegistryAddress(Struct, frozen=True):
    """A registry: its address without a slash at the end, and who asks; never shown as a whole.

    `user_info` is `user:password`. `authority` is a file of certificates beside the system's.
    """

    url: str
    user_info: str | None = None
    authority: Path | None = None

    def __repr__(self) -> str:
        return f"RegistryAddress({self.url})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return [("url", self.url)]


def registry_address(settings: Settings) -> RegistryAddress | None:
    """Return the registry that the settings name, or else the client file; None if neither does.

    Raises `UsageError` for an address that is none, and if a password would be sent unencrypted to
    another host.
    """
    file = settings.kafka_config
    properties = {} if file is None else read_properties(file)
    url = settings.schema_registry_url or _value(properties, URL)
    if url is None:
        return None
    source = f"{PREFIX}SCHEMA_REGISTRY_URL"
    if settings.schema_registry_url is None:
        source = f"{PREFIX}KAFKA_CONFIG: {file}:{properties[URL].line} sets {URL}:"
    address = RegistryAddress(
        _parse_address(url, source), _user_info(properties), _authority(properties)
    )
    host = urlsplit(address.url)
    if address.user_info and host.scheme == "http" and not is_loopback(host.hostname or ""):
        raise UsageError(
            f"{source} would send the password of {USER_INFO} unencrypted to {host.hostname}; use"
            " https, or an address of this host."
        )
    return address


def _parse_address(url: str, source: str) -> str:
    """Return the address of one registry, without a slash at the end."""
    try:
        parts = urlsplit(url.strip())
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = None
    # Whoever reads the setting, as any process of this user may, would read a password in it.
    if not usable or "@" in parts.netloc or parts.query or parts.fragment or "," in url:
        # Not shown: it may hold one.
        raise UsageError(
            f"{source} is not the http or https address of one registry without user and password;"
            f" these belong into {USER_INFO} of the file that {PREFIX}KAFKA_CONFIG names."
        )
    return url.strip().rstrip("/")


def _user_info(properties: dict[str, Property]) -> str | None:
    """Return `user:password`: that of the registry's client, or of Kafka's if it says so."""
    if (_value(properties, USER_SOURCE) or "").upper() != "SASL_INHERIT":
        return _value(properties, USER_INFO)
    user, password = (_value(properties, f"sasl.{name}") for name in ("username", "password"))
    return None if user is None or password is None else f"{user}:{password}"


def _authority(properties: dict[str, Property]) -> Path | None:
    location = _value(properties, AUTHORITY)
    # librdkafka knows `probe` too, which is to look for the system's.
    return None if location in {None, "probe"} else Path(str(location))


def _value(properties: dict[str, Property], name: str) -> str | None:
    return properties[name].value or None if name in properties else None
