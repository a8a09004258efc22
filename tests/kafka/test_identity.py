"""What is said where the cluster or a topic is another: what, how far it was read, what next."""

import pytest

from streaming.kafka.identity import Identity, difference

KNOWN = Identity("one", {"purchases": b"a" * 16, "analytics": b"b" * 16})
READ = {("purchases", 10): 7, ("purchases", 2): None, ("purchases", 0): -1001}

SAID = [
    (
        Identity("two", KNOWN.topic_ids),
        ["This is cluster two", "of cluster one", "reset processor --to earliest"],
    ),
    (
        Identity("one", {**KNOWN.topic_ids, "purchases": b"c" * 16}),
        [
            "purchases was deleted and created again",
            "is lost; it was read up to purchases-0 at 0, purchases-2 at 0, purchases-10 at 7.",
            "reset processor --to earliest",
        ],
    ),
    (
        Identity("one", {**KNOWN.topic_ids, "analytics": b"c" * 16}),
        ["analytics was deleted and created again", "A new worker goes on"],
    ),
]


@pytest.mark.parametrize(("now", "parts"), SAID)
def test_another_cluster_or_topic_is_said_with_positions_and_the_way_on(
    now: Identity, parts: list[str]
) -> None:
    """What this app does not read has no positions, and needs no reset of them."""
    said = difference(KNOWN, now, "processor", READ)
    assert [part for part in parts if part not in said] == []
    assert ("reset" in said) == ("analytics" not in said)
