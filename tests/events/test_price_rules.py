"""The rules of `unit_price` and of the amount at their limits, one payload a line.

A row is a name, a value, and the fields that the event must have or the code of its refusal.
"""

import pytest
from msgspec.structs import replace

from streaming.events.fast_path import read_event_fast
from streaming.events.purchase import PurchaseEvent, read_purchase
from streaming.events.refusal import Refusal
from streaming.settings import Settings
from streaming.units import EPOCH, rfc_3339
from tests.events.given import RULES, purchase, record
from tests.events.rows import Row, amount, judge, price

M = "1000000"
UNPRICED = price(None) | amount(None)

ROWS = [
    # unit_price, as text
    Row("price null is unknown", purchase(unit_price="null"), UNPRICED),
    Row("price absent is unknown", purchase(), UNPRICED),
    Row('price "0" is known', purchase(unit_price='"0"'), price(0) | amount(0)),
    Row('price "-0"', purchase(unit_price='"-0"'), price(0)),
    Row('price "2.55"', purchase(unit_price='"2.55"'), price(2_550_000)),
    Row('price "0.000001"', purchase(unit_price='"0.000001"'), price(1)),
    Row('price "0.0000001"', purchase(unit_price='"0.0000001"'), "invalid_price"),
    Row('price "1.0000000"', purchase(unit_price='"1.0000000"'), "invalid_price"),
    Row('price "1000000000"', purchase(unit_price='"1000000000"'), price(10**15)),
    Row('price "1000000000.000001"', purchase(unit_price='"1000000000.000001"'), "invalid_price"),
    Row('price "-0.000001"', purchase(unit_price='"-0.000001"'), "invalid_price"),
    Row('price "-11062.06"', purchase(unit_price='"-11062.06"'), "invalid_price"),
    Row("price of 20 characters", purchase(unit_price='"00000000000000000001"'), price(10**6)),
    Row("price of 21 characters", purchase(unit_price='"000000000000000000001"'), "invalid_price"),
    Row("price of no characters", purchase(unit_price='""'), "invalid_price"),
    Row('price "1."', purchase(unit_price='"1."'), "invalid_price"),
    Row('price ".5"', purchase(unit_price='".5"'), "invalid_price"),
    Row('price "1e2"', purchase(unit_price='"1e2"'), "invalid_price"),
    Row('price "+1"', purchase(unit_price='"+1"'), "invalid_price"),
    Row('price "1,5"', purchase(unit_price='"1,5"'), "invalid_price"),
    Row('price " 1"', purchase(unit_price='" 1"'), "invalid_price"),
    Row('price "1\\n"', purchase(unit_price='"1\\n"'), "invalid_price"),
    Row('price "1_0"', purchase(unit_price='"1_0"'), "invalid_price"),
    Row("price in other digits", purchase(unit_price='"٢"'), "invalid_price"),
    Row('price "NaN"', purchase(unit_price='"NaN"'), "invalid_price"),
    Row("price with a lone surrogate", purchase(unit_price='"\\ud800"'), "invalid_price"),
    # unit_price, as a number
    Row("price 0", purchase(unit_price="0"), price(0)),
    Row("price -0", purchase(unit_price="-0"), price(0)),
    Row("price -0.0", purchase(unit_price="-0.0"), price(0)),
    Row("price 2.55", purchase(unit_price="2.55"), price(2_550_000)),
    Row("price 3e2", purchase(unit_price="3e2"), price(300_000_000)),
    Row("price 0.1 + 0.2", purchase(unit_price="0.30000000000000004"), price(300_000)),
    Row("price 0.000001", purchase(unit_price="0.000001"), price(1)),
    Row("price 0.0000015 would be rounded", purchase(unit_price="0.0000015"), "invalid_price"),
    Row("price 1e-7", purchase(unit_price="1e-7"), "invalid_price"),
    Row("price 1e-400 is 0 for a double", purchase(unit_price="1e-400"), price(0)),
    Row("price changed by 0.5e-9", purchase(unit_price="1000.0000005"), price(10**9)),
    Row("price changed by 2e-9", purchase(unit_price="100.0000002"), "invalid_price"),
    Row("price 1000000000", purchase(unit_price="1000000000"), price(10**15)),
    Row("price 1e9", purchase(unit_price="1e9"), price(10**15)),
    Row("price 1000000001", purchase(unit_price="1000000001"), "invalid_price"),
    Row("price 1000000000.01", purchase(unit_price="1000000000.01"), "invalid_price"),
    Row("price -1", purchase(unit_price="-1"), "invalid_price"),
    Row("price -0.01", purchase(unit_price="-0.01"), "invalid_price"),
    Row("price 2^63", purchase(unit_price="9223372036854775808"), "invalid_price"),
    Row("price of 5,000 digits", purchase(unit_price="1" * 5_000), "invalid_price"),
    Row("price 1.7e308", purchase(unit_price="1.7e308"), "invalid_price"),
    Row("price 1e400", purchase(unit_price="1e400"), "invalid_price"),
    Row("price -1e400", purchase(unit_price="-1e400"), "invalid_price"),
    Row("price NaN", purchase(unit_price="NaN"), "malformed_json"),
    Row("price Infinity", purchase(unit_price="Infinity"), "malformed_json"),
    Row("price false", purchase(unit_price="false"), "wrong_type"),
    Row("price that is an array", purchase(unit_price="[1]"), "wrong_type"),
    # The amount.
    Row("amount", purchase(quantity="6", unit_price='"2.55"'), amount(15_300_000)),
    Row("amount of a return", purchase(quantity="-6", unit_price="2.55"), amount(-15_300_000)),
    Row("amount 10^9", purchase(quantity=M, unit_price="1000"), amount(10**15)),
    Row("amount -10^9", purchase(quantity=f"-{M}", unit_price="1000"), amount(-(10**15))),
    Row("amount over 10^9", purchase(quantity=M, unit_price='"1000.000001"'), "invalid_price"),
    Row("amount under -10^9", purchase(quantity=f"-{M}", unit_price="1000.01"), "invalid_price"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_price_becomes_what_the_rules_say(row: Row) -> None:
    """The purchase has the fields of its row, or is refused with that code."""
    judge(row)


@pytest.mark.parametrize(
    ("quantity", "price", "accepted"),
    [
        ("1", '"1000000"', True),
        (M, '"1"', True),
        (f"-{M}", "1", True),
        ("1", '"1000000.000001"', False),
        ("-1", "1000000.01", False),
        (M, '"1000"', False),
        (f"-{M}", "1000", False),
    ],
)
def test_a_line_above_the_deployments_maximum_is_refused(
    quantity: str, price: str, *, accepted: bool
) -> None:
    """Both readers judge the amount, of sales and returns, by the maximum of the settings."""
    rules = replace(RULES, max_amount_micros=Settings().max_amount_micros)
    one = record(purchase(quantity=quantity, unit_price=price))
    _, decision = read_purchase(one, rules)
    fast = read_event_fast(one, rules, rfc_3339(EPOCH))
    if accepted:
        assert isinstance(decision, PurchaseEvent)
        assert fast is not None
        assert fast[0].amount_micros == decision.amount_micros
    else:
        assert isinstance(decision, Refusal)
        assert decision.reason == "invalid_price"
        assert "PURCHASES_MAX_AMOUNT, 1000000.00" in decision.detail
        assert fast is None
