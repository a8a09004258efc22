"""`dlq list|show|redrive|drop`: refused records, looked at, repaired, sent again, given up.

Options become a filter and a repair here, results sentences; the work is in `dead_letters`.
"""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streaming.cli.times import read_time
from streaming.errors import UsageError

if TYPE_CHECKING:
    from streaming.dead_letters.redrive import Redriven
    from streaming.settings import Settings
    from streaming.store.dead_letters import DeadLetterFilter, StoredDeadLetter

LISTED: Final = 50
PIPED_WIDTH: Final = 200
NOT_STORED: Final = ("open", "redriven", "parked", "dropped")

app = typer.Typer(help="What was refused, and why.", no_args_is_help=True, rich_markup_mode=None)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Only these.")]
Reason = Annotated[str | None, typer.Option(help="Only those refused for this code.")]
Since = Annotated[str | None, typer.Option(metavar="TIME", help="Refused at or after it.")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="Refused before it.")]
Key = Annotated[str | None, typer.Option(help="Only those with this key.")]
State = Annotated[
    list[str] | None,
    typer.Option(help="open, redriven, stored, parked or dropped; may be repeated."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only say what it would do.")]


@app.command("list")
def list_letters(
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    key: Key = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print the refused records, newest first, and their number by reason.

    Without --state, all whose purchase is not stored. People see the newest 50, --json has all.

    Example: purchases dlq list --reason invalid_price
    """
    import msgspec

    from streaming.dead_letters.render import Listing, listed
    from streaming.settings import load_settings
    from streaming.store.connection import read_store
    from streaming.store.dead_letters import count_by_reason, find_dead_letters

    settings = load_settings()
    wanted = _filter(settings, None, reason, since, until, key, state or NOT_STORED)
    with read_store(settings) as store:
        counts = count_by_reason(store, wanted)
        found = find_dead_letters(store, wanted, newest_first=True)
        if as_json:
            listing = Listing(counts, [listed(letter) for letter in found])
            typer.echo(msgspec.json.encode(listing).decode())
        else:
            _print_list(counts, list(islice(found, LISTED)))


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="As `dlq list` gives it.")],
    as_json: AsJson = False,
) -> None:
    """Print all that is kept of a refused record: key, headers, value, reasons, every attempt.

    ID is topic id, partition and offset; partition:offset is enough where only one has it.

    Example: purchases dlq show 2:4711
    """
    import msgspec

    from streaming.dead_letters.reader import LetterReader
    from streaming.dead_letters.render import lines, shown
    from streaming.kafka.names import Names
    from streaming.kafka.preflight import preflight
    from streaming.settings import load_settings
    from streaming.store.connection import read_store
    from streaming.store.dead_letters import find_dead_letter

    settings = load_settings()
    with read_store(settings) as store:
        letter = find_dead_letter(store, name)
    cluster = preflight(settings, reads=[Names.of(settings).dead_letters])
    with LetterReader(settings, cluster.bootstrap_servers) as reader:
        found = shown(letter, reader.find(letter), reader.attempts(letter))
    typer.echo(msgspec.json.encode(found).decode() if as_json else lines(found))


@app.command()
def redrive(
    ids: Ids = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    key: Key = None,
    state: State = None,
    rules: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="Repair by a rule; may be repeated."),
    ] = None,
    edit: Annotated[
        Path | None,
        typer.Option(help="Repair by a file of corrected values: lines of id and value."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Also those that were refused five times (parked).")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Send refused records again, as they are or repaired; the original stays in the topic.

    A dry run without --yes: it says how many, and what would become of them under today's rules.
    Without --state the open ones, with --force the parked ones too. However often it is repeated,
    each is stored once.

    Example: purchases dlq redrive --reason invalid_price --set unit_price=5 --yes
    """
    import msgspec
    from rich.console import Console
    from rich.progress import Progress

    from streaming.dead_letters.redrive import Request
    from streaming.dead_letters.redrive import redrive as send_again
    from streaming.dead_letters.repair import Repair, read_edits, read_rules
    from streaming.settings import load_settings

    settings = load_settings()
    edits = {} if edit is None else read_edits(edit)
    names = None if not (ids or edit) else [*(ids or []), *edits]
    states = tuple(state or ("open", "parked"))
    if "stored" in states:
        raise UsageError("--state stored: what is stored needs no redrive.")
    full = _full_ids(settings, names or [])
    repair = Repair(read_rules(rules or []), {full[name]: value for name, value in edits.items()})
    wanted = _filter(settings, names and full, reason, since, until, key, states)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Dead letters", total=None)
        found = send_again(
            settings,
            Request(wanted, repair, force),
            send=yes,
            report=lambda number: bar.update(task, completed=number),
        )
    typer.echo(msgspec.json.encode(found).decode() if as_json else _redriven(found))


@app.command()
def drop(
    ids: Ids = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    key: Key = None,
    state: State = None,
    *,
    because: Annotated[str, typer.Option(help="Why nobody will repair them.")],
    yes: Yes = False,
) -> None:
    """Give refused records up, saying why; they are kept, and can be redriven all the same.

    A dry run without --yes. Without --state the open and parked ones.

    Example: purchases dlq drop --key till-7 --because "test sales of a new till" --yes
    """
    from streaming.settings import load_settings
    from streaming.store.connection import read_store, write_store
    from streaming.store.dead_letters import find_dead_letters, mark_dropped

    if not because.strip():
        raise UsageError("--because must say why nobody will repair them.")
    settings = load_settings()
    full = _full_ids(settings, ids or [])
    wanted = _filter(settings, ids and full, reason, since, until, key, state or ("open", "parked"))
    if "stored" in wanted.states:
        raise UsageError("--state stored: what is stored cannot be given up.")
    if yes:
        with write_store(settings) as store:
            dropped = mark_dropped(store, list(find_dead_letters(store, wanted)), because)
        typer.echo(f"{dropped:,} dropped: {because}")
    else:
        with read_store(settings) as store:
            fitting = sum(1 for _ in find_dead_letters(store, wanted))
        typer.echo(f"{fitting:,} would be dropped; --yes does it.")


def _filter(
    settings: "Settings",
    ids: "Mapping[str, str] | list[str] | None",
    reason: str | None,
    since: str | None,
    until: str | None,
    key: str | None,
    states: Sequence[str],
) -> "DeadLetterFilter":
    """Make the filter; with `ids`, only those that it maps to. Raises `UsageError` where wrong."""
    from streaming.events.refusal import Reason as Code
    from streaming.store.dead_letters import STATES, DeadLetterFilter

    for state in states:
        if state not in STATES:
            raise UsageError(f"--state {state} must be one of {', '.join(STATES)}.")
    if reason is not None and reason not in set(Code):
        raise UsageError(f"--reason {reason} must be one of {', '.join(Code)}.")
    return DeadLetterFilter(
        states=tuple(states),
        reason=reason,
        since=_micros("--since", since, settings),
        until=_micros("--until", until, settings),
        key=key,
        ids=frozenset(ids.values()) if isinstance(ids, Mapping) else None,
    )


def _micros(option: str, text: str | None, settings: "Settings") -> int | None:
    from streaming.units import micros_of

    time = read_time(option, text, settings)
    return None if time is None else micros_of(time.astimezone(UTC))


def _full_ids(settings: "Settings", names: Sequence[str]) -> dict[str, str]:
    """Look up what each name is short for. Raises `UsageError` for one that is unknown."""
    from streaming.store.connection import read_store
    from streaming.store.dead_letters import find_dead_letter

    with read_store(settings) as store:
        return {name: find_dead_letter(store, name).id for name in names}


def _print_list(counts: "Mapping[str, int]", letters: "Sequence[StoredDeadLetter]") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from streaming.dead_letters.render import listed
    from streaming.formatting import printable

    total = sum(counts.values())
    reasons = [f"{number:,} {reason or 'not read yet'}" for reason, number in counts.items()]
    typer.echo(f"{total:,} refused{': ' if reasons else ''}{', '.join(reasons)}")
    if not letters:
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("id", no_wrap=True)
    for column in ("refused at", "state", "reason", "attempts", "key", "detail"):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    short = len({letter.topic_id for letter in letters}) == 1
    for letter in letters:
        cells = (letter.state, letter.reason, str(letter.attempts), letter.key, letter.detail)
        at = (listed(letter).refused_at or "")[:19].replace("T", " ")
        name = f"{letter.partition}:{letter.offset}" if short else letter.id
        table.add_row(name, at, *(Text(printable(cell or "")) for cell in cells))
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)
    if total > len(letters):
        typer.echo(f"… and {total - len(letters):,} older ones; narrow it down, or use --json.")


def _redriven(found: "Redriven") -> str:
    """Say what a redrive did, or would do."""
    total = sum(found.outcomes.values())
    said = "sent again" if found.sent else "would be sent again"
    lines = [f"{total:,} {said}." if found.sent else f"{total:,} {said}; --yes does it."]
    for outcome, number in found.outcomes.items():
        becomes = "stored" if outcome == "stored" else f"refused again ({outcome})"
        lines.append(f"  {number:,} {'will' if found.sent else 'would'} be {becomes}")
    meanings = {
        "gone": "no longer in the topic, which keeps 30 days",
        "cut": "too large to be kept whole; correct them with --edit",
        "too_large": "larger than a purchase may be; --edit mends a value, `dlq drop` gives up",
        "no_object": "not a JSON object, in which a field could be set; correct them with --edit",
        "parked": "refused five times already; --force sends them",
        "redriven": "sent again already; --state redriven sends them once more",
        "dropped": "given up; --state dropped sends them",
        "stored": "stored already",
    }
    lines += [f"{number:,} left: {meanings[code]}." for code, number in found.left.items()]
    return "\n".join(lines)
