"""Why Kafka took no record, and what to do. What becomes of the record is its sender's matter."""

from typing import Final

from confluent_kafka import KafkaError

REMEDIES: Final = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED: (
        "this user lacks the permission WRITE on the topic {topic}; grant it"
    ),
    KafkaError.CLUSTER_AUTHORIZATION_FAILED: (
        "this user lacks the permission IDEMPOTENT_WRITE on the cluster; grant it"
    ),
    KafkaError.UNKNOWN_TOPIC_OR_PART: (
        "the topic {topic} does not exist; create it with `purchases topics create`"
    ),
    KafkaError.INVALID_RECORD: (
        "the topic {topic} is compacted, and takes no record without a key; alter it with"
        " `purchases topics create --alter`"
    ),
}
"""By the code of a refusal; what the client says of the others is enough."""


def rejection_reason(error: KafkaError, topic: str) -> str:
    """Return why Kafka took no record for `topic`, and what to do, as the end of a sentence."""
    code = error.code()
    if code == KafkaError._UNKNOWN_TOPIC:
        code = KafkaError.UNKNOWN_TOPIC_OR_PART
    remedy = REMEDIES.get(code)
    return error.str() if remedy is None else remedy.format(topic=topic)
