"""Where the broker is: named in the settings, in the client.properties file, or embedded here."""

from streaming.broker.embedded import broker_status
from streaming.errors import PurchasesError, UsageError
from streaming.kafka.config import read_properties
from streaming.settings import PREFIX, Settings


def bootstrap_servers(settings: Settings) -> str:
    """Give the servers to connect to.

    Raises `UsageError` where the file names none, `PurchasesError` where the embedded broker does
    not run.
    """
    if settings.kafka_config is not None:
        named = read_properties(settings.kafka_config).get("bootstrap.servers")
        servers = named or settings.bootstrap_servers
        if servers is None:
            raise UsageError(
                f"{PREFIX}KAFKA_CONFIG: {settings.kafka_config} has no bootstrap.servers;"
                f" add it, or set {PREFIX}BOOTSTRAP_SERVERS."
            )
        return servers
    if settings.bootstrap_servers is not None:
        return settings.bootstrap_servers
    status = broker_status(settings.home)
    if status.bootstrap_servers is None:
        raise PurchasesError(
            f"No broker runs in {settings.home}: start it with `purchases broker start` or"
            f" `purchases up`, or name one of your own in {PREFIX}BOOTSTRAP_SERVERS."
        )
    return status.bootstrap_servers
