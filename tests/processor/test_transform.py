"""The processor's pure middle: what is published of a record, or kept as a dead letter."""

import pytest

from streaming.events.record import Header
from streaming.processor.transform import transform
from tests.events.given import REDRIVE, RULES, origin_fields, purchase, record

PROCESSED = "2025-11-24T16:00:01.000000Z"
LIMIT = 1_000_000


@pytest.mark.parametrize(("count", "reason"), [(1_000, None), (1_001, "too_large")])
def test_a_record_carries_a_thousand_headers_at_most(count: int, reason: str | None) -> None:
    """Those that a redrive adds do not count, or it could never be redriven."""
    headers: list[Header] = [*origin_fields(), *[("a", b"")] * count]
    output = transform(record(purchase(), None, headers, REDRIVE), RULES, PROCESSED, LIMIT)
    assert output.reason == reason
    detail = dict(output.headers).get("dlq.detail")
    assert detail == (None if reason is None else b"the record has 1001 headers, over 1000")
