"""The one list of a purchase's fields, and the records that must agree with it."""

from streaming.events.analytics import AnalyticsEvent
from streaming.events.fast_path import BoundedFields
from streaming.events.purchase import FIELDS, REQUIRED, PurchaseEvent
from streaming.producer.record import RawPurchase
from streaming.producer.replay.columns import COLUMN_FIELDS, ONLINE_RETAIL


def test_every_form_of_a_purchase_has_the_fields_of_the_contract() -> None:
    """Decoders and senders in the same order, because replay fills them by position."""
    assert BoundedFields.__struct_fields__ == RawPurchase.__struct_fields__ == FIELDS


def test_the_events_keep_every_field() -> None:
    """Under its own name, a price and the amount made of it in micros, a time as the event's."""
    money = {"unit_price_micros", "amount_micros"}
    kept = (set(FIELDS) - {"unit_price"}) | money
    assert set(PurchaseEvent.__struct_fields__) == kept
    assert kept - {"timestamp"} | {"event_time"} <= set(AnalyticsEvent.__struct_fields__)


def test_a_column_can_give_any_field_but_the_event_id() -> None:
    """Which a replay derives; the columns of Online Retail give the required ones, too."""
    assert {*COLUMN_FIELDS, "event_id"} == set(FIELDS)
    assert set(REQUIRED) <= set(ONLINE_RETAIL) <= set(COLUMN_FIELDS)
