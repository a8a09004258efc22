"""Asking the brokers something of which the answer is needed, by a command that can wait a little.

What is asked lives with who asks. Workers do not ask so: a new one asks again.
"""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from confluent_kafka import KafkaException

from streaming.errors import Unavailable

ANSWER_SECONDS: Final = 5.0
AGAIN_SECONDS: Final = 0.1

Answer = TypeVar("Answer")


def answer(ask: Callable[[float], Answer]) -> Answer:
    """Ask with a timeout (s), and for five seconds again where that is refused; give the answer.

    A broker that has just started, or taken a group over, refuses for a moment what it answers
    then ("Not coordinator"). Raises `Unavailable` with the last refusal.
    """
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            return ask(ANSWER_SECONDS)
        except KafkaException as error:
            if time.monotonic() >= deadline:
                text = f"The broker does not answer: {error.args[0].str()}."
                raise Unavailable(text) from None
        time.sleep(AGAIN_SECONDS)
