"""The exports of shop systems: which of their columns give which field, as data.

What a preset changes of reading a file is in `recording`. Each is after the columns that its vendor
documents; docs/how-to/bring-your-own-data.md has a file of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from streaming.producer.replay.columns import Constant


@dataclass(frozen=True)
class Preset:
    """How a system writes its exports.

    `mapping` and `id_columns` are as `--map` and `--id` give them. `timezone` is that of times
    without an offset, if it is always the same. `carried` are columns that only the first row of
    each `order` has. Rows with one of the `unpaid` texts of a column, in lower case, are left out.
    """

    mapping: Mapping[str, str | Constant]
    id_columns: Sequence[str] = ()
    timezone: str | None = None
    order: str = ""
    carried: Sequence[str] = ()
    unpaid: Mapping[str, frozenset[str]] = field(default_factory=dict)


PRESETS: Final[Mapping[str, Preset]] = MappingProxyType(
    {
        "shopify": Preset(
            mapping={
                "user": "Email",
                "item": "Lineitem sku",
                "timestamp": "Created at",
                "quantity": "Lineitem quantity",
                "unit_price": "Lineitem price",
                "currency": "Currency",
                "order_id": "Name",
                "description": "Lineitem name",
                "country": "Billing Country",
            },
            order="Name",
            carried=("Email", "Financial Status", "Currency", "Billing Country", "Created at"),
            unpaid={
                "Financial Status": frozenset(
                    {"authorized", "expired", "pending", "refunded", "unpaid", "voided"}
                )
            },
        ),
        "woocommerce": Preset(
            mapping={
                "user": "customer_email",
                "item": "item_sku",
                "timestamp": "order_date",
                "quantity": "item_quantity",
                "line_total": "item_total",
                "currency": "order_currency",
                "order_id": "order_number",
                "description": "item_name",
                "country": "billing_country",
            },
            unpaid={
                "status": frozenset(
                    {"cancelled", "checkout-draft", "failed", "on-hold", "pending", "refunded"}
                )
            },
        ),
        "square": Preset(
            mapping={
                "user": "Customer ID",
                "item": "Item",
                "timestamp": "Date+Time",
                "quantity": "Qty",
                "line_total": "Gross Sales",
                "order_id": "Transaction ID",
                "description": "Price Point Name",
            },
        ),
        "stripe": Preset(
            mapping={
                "user": "Customer Email",
                # A payment has no item.
                "item": Constant("payment"),
                "timestamp": "Created date (UTC)",
                "unit_price": "Amount",
                "currency": "Currency",
                "order_id": "id",
                "description": "Description",
            },
            id_columns=("id",),
            timezone="UTC",
            unpaid={
                "Status": frozenset(
                    {
                        "blocked",
                        "canceled",
                        "cancelled",
                        "failed",
                        "incomplete",
                        "refunded",
                        "requires_action",
                        "requires_capture",
                        "requires_confirmation",
                        "requires_payment_method",
                        "uncaptured",
                    }
                )
            },
        ),
        "amazon": Preset(
            mapping={
                # The history of one customer names none.
                "user": "",
                "item": "ASIN",
                "timestamp": "Order Date",
                "quantity": "Quantity",
                "unit_price": "Unit Price",
                "currency": "Currency",
                "order_id": "Order ID",
                "description": "Product Name",
            },
            unpaid={"Order Status": frozenset({"cancelled"})},
        ),
    }
)
