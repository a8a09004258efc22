"""The bootstrap servers: named in the settings, in client.properties, or of the embedded broker."""

from streaming.broker.identity import read_identity
from streaming.errors import Unavailable, UsageError
from streaming.kafka.config import read_client_properties
from streaming.settings import PREFIX, Settings


def bootstrap_servers(settings: Settings) -> str:
    """Return the servers to connect to, as `host:port,…`.

    The embedded broker keeps its address, so one that does not run now can be waited for. Raises
    `UsageError` if the file names none, `Unavailable` if the embedded broker never ran.
    """
    if settings.kafka_config is not None:
        named = read_client_properties(settings.kafka_config).get("bootstrap.servers")
        servers = named or settings.bootstrap_servers
        if servers is None:
            raise UsageError(
                f"{PREFIX}KAFKA_CONFIG: {settings.kafka_config} has no bootstrap.servers;"
                f" add it, or set {PREFIX}BOOTSTRAP_SERVERS."
            )
        return servers
    if settings.bootstrap_servers is not None:
        return settings.bootstrap_servers
    identity = read_identity(settings.home)
    if identity is None:
        raise no_broker(settings)
    return identity.client_properties["bootstrap.servers"]


def no_broker(settings: Settings) -> Unavailable:
    """Return the error of a home whose broker does not run."""
    return Unavailable(
        f"No broker runs in {settings.home}: start it with `purchases broker start` or"
        f" `purchases up`, or name one of your own in {PREFIX}BOOTSTRAP_SERVERS."
    )
