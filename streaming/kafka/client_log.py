"""The lines that librdkafka would print by itself, as events of our log.

What it reports to its error callback is in `client_errors`.
"""

from streaming.system.logs import get_logger


class ClientLog:
    """The `logger` of our clients: it has the one method that they call, within their polls.

    At the log level of `config` only fatal lines are left, which librdkafka prints at any.
    """

    def log(self, _level: int, _template: str, facility: str, client: str, text: str) -> None:
        """Log one line of a client."""
        get_logger().error("kafka_client", facility=facility, client=client, error=text)
