"""With which options topics are created where a cluster does not take all that are wanted."""

from streaming.kafka.names import Names
from streaming.kafka.topics import DEAD_LETTER_BYTES, KEPT, fallbacks, topic_definitions

DAYS_30 = {"cleanup.policy": "delete", "retention.ms": str(30 * 86_400_000)}


def test_a_smaller_limit_is_asked_for_before_none() -> None:
    """Dead letters keep their 30 days whatever becomes of the 16 MiB."""
    _, options = topic_definitions(Names())["purchases.dlq"]
    asked = list(fallbacks(options))
    assert asked[:3] == [
        DAYS_30 | {"max.message.bytes": str(DEAD_LETTER_BYTES)},
        DAYS_30 | {"max.message.bytes": str(8 * 1024 * 1024)},
        {"cleanup.policy": "delete", "max.message.bytes": str(DEAD_LETTER_BYTES)},
    ]
    assert DAYS_30 in asked


def test_as_few_options_as_possible_are_left_out() -> None:
    """Each alone before two together, and never the time of append or how records are deleted."""
    _, whole = topic_definitions(Names())["purchases"]
    asked = list(fallbacks(whole))
    left_out = [len(whole) - len(options) for options in asked]
    assert left_out == sorted(left_out)
    assert len(asked) == len({tuple(options.items()) for options in asked})
    assert all(options.items() >= KEPT.items() for options in asked)
    assert asked[0] == whole
    assert asked[-1] == KEPT
    assert {n: v for n, v in whole.items() if n != "compression.type"} in asked
