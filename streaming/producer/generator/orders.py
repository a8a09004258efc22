"""Orders by chance: a skewed catalogue, returning customers, guests, returns.

Pure: the same seed gives the same orders. When they happen is decided in `timing`, what is
corrupted on purpose in `corruption`.
"""

from bisect import bisect
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, count
from random import Random
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

# Chosen to resemble Online Retail, the example recording: a British wholesaler of gifts.
CATALOGUE_SEED: Final = 2010
ITEMS: Final = 600
CUSTOMERS: Final = 4_000
FIRST_CUSTOMER: Final = 12_000
FIRST_ORDER: Final = 100_000
POPULARITY_FALL: Final = 0.9
LOYALTY_FALL: Final = 0.6
"""Exponents of power laws: the larger, the more the first items and customers stand out."""
GUEST_SHARE: Final = 0.2
RETURN_SHARE: Final = 0.04
ANOTHER_LINE: Final = 0.72
"""The chance of one more line, so that an order has three and a half lines on average."""
MAX_LINES: Final = 25
RETURNABLE_ORDERS: Final = 500
"""The last orders, of which one line each can be returned: memory stays bounded."""

COLOURS: Final = ("RED", "BLUE", "IVORY", "PINK", "GREEN", "WHITE", "BLACK", "SILVER", "PASTEL")
STYLES: Final = ("RETROSPOT", "VINTAGE", "REGENCY", "POLKADOT", "GINGHAM", "FLORAL", "STRIPE")
THINGS: Final = (
    "LUNCH BAG",
    "CAKE STAND",
    "TEACUP AND SAUCER",
    "BUNTING",
    "T-LIGHT HOLDER",
    "ALARM CLOCK",
    "PICTURE FRAME",
    "HOT WATER BOTTLE",
    "JAM JAR",
    "DOORMAT",
    "PAPER CHAIN KIT",
    "WICKER HEART",
)
COUNTRIES: Final = ("United Kingdom", "Germany", "France", "EIRE", "Spain", "Netherlands")
COUNTRY_WEIGHTS: Final = (88.0, 3.5, 3.2, 2.8, 1.5, 1.0)
QUANTITIES: Final = (1, 2, 3, 4, 6, 8, 10, 12, 24, 48)
QUANTITY_WEIGHTS: Final = (30.0, 18.0, 8.0, 8.0, 12.0, 4.0, 5.0, 10.0, 4.0, 1.0)


class Line(Struct, frozen=True, gc=False):
    """One line of an order, without its time: it becomes one record of `purchases`.

    `first` marks the first line of an order; the others happen with it.
    """

    first: bool
    user: str | None
    item: str
    quantity: int
    unit_price: str
    order_id: str
    description: str
    country: str


@dataclass(frozen=True)
class Item:
    """One item of the catalogue; its price is a plain decimal."""

    code: str
    description: str
    unit_price: str


class WeightedIndex:
    """Indexes by weight."""

    def __init__(self, weights: Sequence[float]) -> None:
        self._cumulated = list(accumulate(weights))

    def index_at(self, fraction: float) -> int:
        """Return the index at `fraction` (0 to under 1) of the whole weight."""
        index = bisect(self._cumulated, fraction * self._cumulated[-1])
        # Rounding may reach the whole weight.
        return min(index, len(self._cumulated) - 1)


def power_law(count: int, exponent: float) -> WeightedIndex:
    """Return weights that fall as a power of the rank: few are popular, many are rare."""
    return WeightedIndex([1 / rank**exponent for rank in range(1, count + 1)])


_POPULARITY: Final = power_law(ITEMS, POPULARITY_FALL)
_LOYALTY: Final = power_law(CUSTOMERS, LOYALTY_FALL)
_COUNTRY: Final = WeightedIndex(COUNTRY_WEIGHTS)
_QUANTITY: Final = WeightedIndex(QUANTITY_WEIGHTS)


def catalogue() -> list[Item]:
    """Return the items of the shop, the most popular first; always the same ones."""
    random = Random(CATALOGUE_SEED)  # noqa: S311 - chance, not secrecy
    names = [f"{style} {thing} {tint}" for style in STYLES for thing in THINGS for tint in COLOURS]
    items = []
    for number in range(ITEMS):
        # By `random()` alone: of Python's generator only that keeps its sequence from version to
        # version.
        name = names.pop(int(random.random() * len(names)))
        code = str(20_000 + number * 7_919 % 70_000) + ("ABC"[number % 3] if number % 4 else "")
        pence = 29 + int(1_500 * random.random() ** 3)
        items.append(Item(code, name, f"{pence // 100}.{pence % 100:02}"))
    return items


def generate_lines(seed: int) -> Iterator[Line]:
    """Yield the lines of one order after another, without end."""
    random = Random(f"lines {seed}")  # noqa: S311 - chance, not secrecy
    items = catalogue()
    bought: deque[Line] = deque(maxlen=RETURNABLE_ORDERS)
    for order in count(FIRST_ORDER):
        if bought and random.random() < RETURN_SHARE:
            yield _returned_line(random, bought, order)
            continue
        made = _order(random, items, order)
        # The first line is enough to choose a return from, and keeps little.
        bought.append(made[0])
        yield from made


def _order(random: Random, items: Sequence[Item], order: int) -> list[Line]:
    buyer = _buyer(random)
    made = [_line(random, items, buyer, order, first=True)]
    while len(made) < MAX_LINES and random.random() < ANOTHER_LINE:
        made.append(_line(random, items, buyer, order, first=False))
    return made


def _buyer(random: Random) -> tuple[str | None, str]:
    """Draw user and country: a guest, or a customer, who always lives in the same country."""
    if random.random() < GUEST_SHARE:
        return None, COUNTRIES[_COUNTRY.index_at(random.random())]
    number = _LOYALTY.index_at(random.random())
    # Multiples of the golden ratio spread evenly, so that the shares of countries hold for any
    # number of customers.
    home = number * 0.618_033_988_75 % 1
    return str(FIRST_CUSTOMER + number), COUNTRIES[_COUNTRY.index_at(home)]


def _line(
    random: Random, items: Sequence[Item], buyer: tuple[str | None, str], order: int, *, first: bool
) -> Line:
    user, country = buyer
    item = items[_POPULARITY.index_at(random.random())]
    return Line(
        first=first,
        user=user,
        item=item.code,
        quantity=QUANTITIES[_QUANTITY.index_at(random.random())],
        unit_price=item.unit_price,
        order_id=str(order),
        description=item.description,
        country=country,
    )


def _returned_line(random: Random, bought: Sequence[Line], order: int) -> Line:
    """Return a part of the first line of a recent order, as a negative quantity."""
    line = bought[int(random.random() * len(bought))]
    back = 1 + int(random.random() * line.quantity)
    return replace(line, quantity=-back, order_id=f"C{order}")
