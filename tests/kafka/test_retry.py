"""What a command asks of the brokers is asked again for a while."""

import pytest
from confluent_kafka import KafkaError, KafkaException

from streaming.errors import Unavailable
from streaming.kafka.retry import answer


def refusal() -> KafkaException:
    """Return what a broker says that does not know the group yet."""
    return KafkaException(KafkaError(KafkaError.NOT_COORDINATOR))


def test_what_is_refused_for_a_moment_is_asked_again() -> None:
    """Two refusals are not told."""
    refusals = [refusal(), refusal()]

    def ask(seconds: float) -> str:
        assert seconds > 0
        if refusals:
            raise refusals.pop()
        return "answer"

    assert answer(ask) == "answer"
    assert not refusals


def test_what_stays_refused_is_raised() -> None:
    """With the broker's own words."""

    def ask(_seconds: float) -> str:
        raise refusal()

    with pytest.raises(Unavailable, match=r"does not answer.*[Cc]oordinator"):
        answer(ask)
