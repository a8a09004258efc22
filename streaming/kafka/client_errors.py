"""The clients' errors: their callback, and what the error of a fetch means.

What a client logs is in `client_log`.
"""

from typing import Final

from confluent_kafka import KafkaError, Message

from streaming.errors import Mismatch, Unrecoverable
from streaming.system.logs import RateLimitedLogger

PASSING: Final = frozenset(
    {
        KafkaError._PARTITION_EOF,
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
    }
)
"""Errors that end by themselves while the client goes on: it reconnects and asks for the leader."""
FORBIDDEN: Final = frozenset(
    {KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED}
)
"""Errors after which the client asks again by itself, and goes on once the permission is there."""


class ErrorWatch:
    """The clients' error callback: remembers that no broker answers, and logs once a second.

    During an outage librdkafka calls it up to 1,700 times a second.
    """

    def __init__(self) -> None:
        self.all_brokers_down = False
        self._log = RateLimitedLogger()

    def __call__(self, error: KafkaError) -> None:
        """Take one error, from any of the clients' threads."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self.all_brokers_down = True
        self._log.warning("kafka_error", code=error.name(), error=error.str())


def is_said_once(message: Message) -> bool:
    """Return whether a message is the error after which the client reads its partition no more.

    It refuses to seek in it too, so the error must not be dropped.
    """
    error = message.error()
    return error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET


def refusal_of(error: KafkaError, position: str, watch: ErrorWatch) -> str | None:
    """Return what the broker forbids, if that is the error; tell `watch` of one that passes.

    `position` is where it was met. Raises `Mismatch` for a position that the log does not have, and
    `Unrecoverable` for what only a new process mends.
    """
    if error.code() == KafkaError._AUTO_OFFSET_RESET:
        raise Mismatch(
            f"The next record of {position} is no longer (or not yet) in the log:"
            f" {error.str()}. Was the topic truncated, or deleted and created again, or did"
            " retention delete what was not read? See `purchases offsets list`, and go on with"
            " `purchases offsets reset`."
        )
    if error.code() in FORBIDDEN:
        return f"the broker refuses {position}: {error.str()}"
    if error.code() not in PASSING and not error.retriable():
        raise Unrecoverable(f"the consumer failed at {position}: {error.str()}")
    watch(error)
    return None
