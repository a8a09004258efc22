"""A question to the brokers that a command needs answered, and can wait a little for.

What is asked is the caller's. Workers do not ask so: they pause, or a new one asks again.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from confluent_kafka import KafkaException

from streaming.errors import Unavailable
from streaming.system.deadline import Deadline

ANSWER_SECONDS: Final = 5.0
"""A broker takes a group over within a second or two; longer is an outage."""
RETRY_SECONDS: Final = 0.1
"""Between two questions: a refusal costs the broker little, and a person waits for the answer."""

Answer = TypeVar("Answer")


def answer(ask: Callable[[float], Answer]) -> Answer:
    """Return what `ask` does, called with a timeout (s), and again for five seconds if refused.

    A broker that has just started, or taken a group over, refuses for a moment what it answers
    then ("Not coordinator"). Raises `Unavailable` with the last refusal.
    """
    deadline = Deadline.after(ANSWER_SECONDS)
    while True:
        try:
            return ask(ANSWER_SECONDS)
        except KafkaException as error:
            if deadline.is_over():
                text = f"The broker does not answer: {error.args[0].str()}."
                raise Unavailable(text) from None
        time.sleep(RETRY_SECONDS)
