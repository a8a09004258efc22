"""What is said where the cluster or a topic is another: what, how far it was read, what next."""

import pytest

from streaming.kafka.identity import Identity, difference

EXPECTED = Identity("one", {"purchases": b"a" * 16, "analytics": b"b" * 16})
READ = {("purchases", 10): 7, ("purchases", 2): 0, ("analytics", 1): 3}

SAID = [
    (
        Identity("two", EXPECTED.topic_ids),
        ["This is cluster two", "of cluster one", "reset processor --to earliest"],
    ),
    (
        Identity("one", {**EXPECTED.topic_ids, "purchases": b"c" * 16}),
        [
            "purchases was deleted and created again",
            "is lost. processor was at purchases-2 at 0, purchases-10 at 7.",
            "reset processor --to earliest",
        ],
    ),
]


@pytest.mark.parametrize(("now", "parts"), SAID)
def test_another_cluster_or_topic_is_said_with_positions_and_the_way_on(
    now: Identity, parts: list[str]
) -> None:
    """The positions are those in the topic, in the order of its partitions."""
    said = difference(EXPECTED, now, "processor", READ)
    assert [part for part in parts if part not in said] == []


def test_of_a_topic_that_is_not_read_here_others_have_the_positions() -> None:
    """As of `analytics`, which the processor only writes."""
    now = Identity("one", {**EXPECTED.topic_ids, "analytics": b"c" * 16})
    said = difference(EXPECTED, now, "processor", {("purchases", 0): 7})
    assert "analytics was deleted and created again" in said
    assert "offsets list" in said
    assert "reset" not in said
