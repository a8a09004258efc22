"""What `replay --check` prints: the result first, then how the file was read."""

from typing import TYPE_CHECKING, Final

from streaming.cli.progress import statuses
from streaming.formatting import group_thousands, printable_text

if TYPE_CHECKING:
    from streaming.producer.replay.check import ReplayCheck

INDENT: Final = "  "


def check_text(check: "ReplayCheck") -> str:
    """Return a check as lines of text."""
    import msgspec

    refused, unpaid = sum(check.refused.values()), sum(check.unpaid.values())
    judged = check.rows - unpaid
    file = printable_text(check.file)
    verdict = (
        f"FAILED: {refused:,} of the {judged:,} rows of {file} would be refused"
        if refused
        else f"OK: all rows of {file} would be stored, {judged:,} in all"
    )
    lines = [f"{verdict}. Nothing was sent.", "", *_columns(check), ""]
    lines.append("First rows, as they would be sent:")
    lines += [INDENT + msgspec.json.encode(one).decode() for one in check.first_purchases]
    if unpaid:
        lines += ["", f"Left out, because nothing was paid: {statuses(check.unpaid)}"]
    if refused:
        lines += ["", "Refused:"]
        lines += [
            f"{INDENT}{count:,} {reason}, such as {check.examples[reason]}"
            for reason, count in check.refused.items()
        ]
    return "\n".join([*lines, "", *_figures(check)])


def _columns(check: "ReplayCheck") -> list[str]:
    width = max(map(len, check.columns))
    lines = [
        f"{INDENT}{field:<{width}}  {printable_text(column)}"
        for field, column in check.columns.items()
    ]
    if check.unused_columns:
        lines.append(f"Not used: {', '.join(map(printable_text, check.unused_columns))}")
    return ["Fields, and the columns that give them:", *lines]


def _figures(check: "ReplayCheck") -> list[str]:
    shifted = "shifted" if check.shifted else "as recorded"
    days = f"{check.first_day} to {check.last_day}, {shifted}, in {check.timezone}"
    odd = [
        f"{count:,} {what}"
        for count, what in (
            (check.without_price, "without a price"),
            (check.guests, "of guests"),
        )
        if count
    ]
    valid = check.rows - sum(check.unpaid.values()) - sum(check.refused.values())
    return [
        f"Dates       {days if check.first_day else 'none that can be read'}",
        f"Purchases   {valid:,}" + (f", {', '.join(odd)}" if odd else ""),
        f"Items       {check.quantity:,}",
        f"Money       {group_thousands(check.net_revenue)} {check.currency}",
        f"Sent before {_earlier_replay(check)}",
    ]


def _earlier_replay(check: "ReplayCheck") -> str:
    if check.sent_at:
        file = f"all of this file, by {check.sent_at}"
    elif check.begun_at:
        file = f"a part of this file, begun at {check.begun_at}"
    else:
        file = "not this file from this home"
    if check.stored is None:
        return file
    return f"{file}; {check.stored:,} of its rows are stored"
