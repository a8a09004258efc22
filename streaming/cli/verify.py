"""`verify`: what was compared, and what differs.

How it is compared is in `streaming.verification`.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from streaming.cli.output import AsJson, print_json, print_text
from streaming.formatting import printable_text
from streaming.units import EPOCH, rfc_3339

if TYPE_CHECKING:
    from streaming.verification.verify import VerificationReport

Full = Annotated[
    bool, typer.Option("--full", help="Begin from the start, not from the last one that agreed.")
]


def verify(as_json: AsJson = False, full: Full = False) -> None:
    """Recount the events and compare: no figure is wrong, and no purchase is lost or counted twice.

    Recounts live totals, items and days from the events, and follows every record of purchases
    that Kafka still holds to where it went. The stream may run meanwhile. Exit code 1 if
    something does not agree. The result is kept in the table verification.

    It goes on from the last verification that agreed: what that one compared is held to digests
    of its rows, what came since is read. If anything differs, it begins from the start.

    Example: purchases verify
    """
    from msgspec import structs
    from rich.progress import Progress as Bar

    from streaming.cli.console import PrintableConsole
    from streaming.errors import PurchasesError
    from streaming.settings import load_settings
    from streaming.verification.verify import verify as compare

    console = PrintableConsole(stderr=True)
    with Bar(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Verifying", total=None)
        result = compare(
            load_settings(),
            lambda what, done, total: bar.update(
                task, description=f"Reading {what}", completed=done, total=total or None
            ),
            full=full,
        )
    if as_json:
        print_json({"agrees": not result.differences, **structs.asdict(result)})
    else:
        print_text(_text(result))
    # The report is on stdout already. The error adds a sentence on stderr and the exit code.
    if result.differences:
        raise PurchasesError(f"Differences: {result.differences:,}. {result.examples[0]}")


def _text(result: "VerificationReport") -> str:
    """Write the result, a line per check, the offsets compared, and the differences."""
    seconds = (result.finished_at - result.started_at) / 1_000_000
    agrees = "FAILED: not all" if result.differences else "OK: all"
    lines = [f"{agrees} of it agrees ({seconds:.1f} s)."]
    lines += [
        f"✗ {check.name}: {check.differing:,} differ, {check.compared:,} checked"
        if check.differing
        else f"✓ {check.name}: {check.compared:,} checked"
        for check in result.checks
    ]
    for topic, ranges in result.offsets.items():
        offsets = ", ".join(f"{number}: {first}-{end}" for number, (first, end) in ranges.items())
        lines.append(f"{topic}, offsets by partition: {offsets}")
    if result.since is not None:
        lines.append(f"Purchases were followed since {result.since[:19].replace('T', ' ')} UTC.")
    if result.rests_on is not None:
        moment = rfc_3339(EPOCH + timedelta(microseconds=result.rests_on))[:19].replace("T", " ")
        lines.append(
            f"Rests on the verification of {moment} UTC for the {result.rests_on_events:,} events"
            " that it compared; --full reads all again."
        )
    lines += [printable_text(text) for text in result.unreadable if text not in result.examples]
    lines += map(printable_text, result.examples)
    return "\n".join(lines)
