"""Refusals: the stable codes, and the sentence beside a code.

The codes are a contract with whoever reads `purchases.dlq`: they are added to, never renamed.
Which record gets which code is decided in `fields`, `purchase` and `record`, and in `analytics`.
"""

from enum import StrEnum

from msgspec import Struct


class Reason(StrEnum):
    """The code in the header `dlq.reason` and the column `dead_letter.reason`."""

    MALFORMED_JSON = "malformed_json"
    MISSING_FIELD = "missing_field"
    WRONG_TYPE = "wrong_type"
    INVALID_USER = "invalid_user"
    INVALID_ITEM = "invalid_item"
    INVALID_TIMESTAMP = "invalid_timestamp"
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    TIMESTAMP_TOO_OLD = "timestamp_too_old"
    INVALID_EVENT_ID = "invalid_event_id"
    INVALID_TEXT = "invalid_text"
    INVALID_QUANTITY = "invalid_quantity"
    INVALID_PRICE = "invalid_price"
    UNSUPPORTED_CURRENCY = "unsupported_currency"
    INVALID_ORIGIN = "invalid_origin"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    # Of a value that is framed for a schema registry, if there is one.
    UNKNOWN_SCHEMA = "unknown_schema"
    SCHEMA_MISMATCH = "schema_mismatch"
    # Of a record of `analytics`; the consumer alone gives it.
    NOT_STORABLE = "not_storable"


class Refusal(Struct, frozen=True):
    """The reason of a refused record, and a sentence for the person who repairs it."""

    reason: Reason
    detail: str


class RefusalError(Exception):
    """A refusal on its way out of nested checks."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(reason, detail)


def excerpt(value: object) -> str:
    """Return a value as a detail shows it: at most 60 characters, unprintables escaped."""
    text = repr(value)  # which escapes what does not print, and leaves a £
    return text if len(text) <= 60 else f"{text[:57]}..."
