"""What `dlq` prints for people: the result first, then the fact, then the next command."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from streaming.cli.output import print_text
from streaming.formatting import printable_text

if TYPE_CHECKING:
    from rich.table import Table

    from streaming.dead_letters.redrive import RedriveResult
    from streaming.store.dead_letters import StoredDeadLetter

# Into a pipe, where no terminal cuts a line: wide enough for an id and the beginning of a detail.
PIPED_WIDTH: Final = 200

NOT_SENT: Final = {
    "gone": "the topic, which keeps 30 days, no longer has them",
    "cut": "too large to be kept whole; send a corrected value with --edit FILE",
    "too_large": "larger than a purchase may be; send a smaller value with --edit FILE, or give"
    " them up with `purchases dlq drop`",
    "no_object": "not a JSON object in which --set could set a field; send a corrected value with"
    " --edit FILE",
    "other_currency": "priced in another currency, which --set currency alone would not convert;"
    " set unit_price as well, or send corrected values with --edit FILE",
    "sent_before": "another dead letter by their headers, perhaps sent again by an earlier release;"
    " redrive that one, or send these with --force",
    "erased": "their customer was erased, so they are not sent again",
    "parked": "refused five times already; send them with --force",
    "redriven": "sent again already; send them once more with --state redriven",
    "dropped": "given up; send them with --state dropped",
    "stored": "stored already; nothing is to be done",
    "not_storable": "records of analytics and no purchases, so the processor cannot take them; give"
    " them up with `purchases dlq drop`",
}


def print_list(counts: Mapping[str, int], dead_letters: "Sequence[StoredDeadLetter]") -> None:
    """Print the number by reason, a row for each dead letter, and how many are left out."""
    from streaming.cli.console import PrintableConsole

    total = sum(counts.values())
    reasons = [f"{number:,} {reason or 'not read yet'}" for reason, number in counts.items()]
    print_text(f"{total:,} refused{': ' if reasons else ''}{', '.join(reasons)}")
    if not dead_letters:
        return
    PrintableConsole(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(_table(dead_letters))
    if total > len(dead_letters):
        print_text(
            f"{total - len(dead_letters):,} older ones are left out; add a filter, or --json."
        )


def redrive_summary(result: "RedriveResult") -> str:
    """Return the text of a redrive, or of its dry run."""
    total = sum(result.outcomes.values())
    if result.sent:
        lines = [f"OK: {total:,} sent again."]
    else:
        lines = [f"Dry run: {total:,} would be sent again. Add --yes to send them."]
    verb = "will" if result.sent else "would"
    for outcome, number in result.outcomes.items():
        becomes = "stored" if outcome == "stored" else f"refused again ({outcome})"
        lines.append(f"  {number:,} {verb} be {becomes}")
    lines += [f"{number:,} not sent: {NOT_SENT[code]}." for code, number in result.left.items()]
    return "\n".join(lines)


def _table(dead_letters: "Sequence[StoredDeadLetter]") -> "Table":
    from rich.table import Table
    from rich.text import Text

    from streaming.dead_letters.render import summary

    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("id", no_wrap=True)
    for column in ("refused at", "state", "reason", "attempts", "key", "detail"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    # The topic id is only needed to tell records of two topics apart.
    short = len({dead_letter.topic_id for dead_letter in dead_letters}) == 1
    for dead_letter in dead_letters:
        cells = (
            dead_letter.state,
            dead_letter.reason,
            str(dead_letter.attempts),
            dead_letter.key,
            dead_letter.detail,
        )
        at = (summary(dead_letter).refused_at or "")[:19].replace("T", " ")
        name = f"{dead_letter.partition}:{dead_letter.offset}" if short else dead_letter.id
        table.add_row(name, at, *(Text(printable_text(cell or "")) for cell in cells))
    return table
