"""Figures and foreign text as people read them; units for programs are in `units`."""


def grouped(amount: str) -> str:
    """Write a decimal with commas between thousands, exactly."""
    whole, _, decimals = amount.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.lstrip('-')):,}.{decimals}"


def printable(text: str) -> str:
    """Escape control characters: an item comes from anyone and must not steer a terminal."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
