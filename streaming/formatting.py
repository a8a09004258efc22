"""How figures and foreign text are shown to people; nothing here is for programs."""


def grouped(amount: str) -> str:
    """Write a decimal with commas between thousands, exactly."""
    whole, _, decimals = amount.partition(".")
    sign = "-" if whole.startswith("-") else ""
    return f"{sign}{int(whole.lstrip('-')):,}.{decimals}"


def printable(text: str) -> str:
    """Escape what would steer a terminal: items come from anyone."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
