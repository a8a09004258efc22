"""`dlq list|show|redrive|drop`: list, repair, send again and give up refused records.

Options become a filter and a repair in `dlq_options`, results text in `dlq_output`; the work is in
`dead_letters`.
"""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streaming.cli.dlq_options import (
    NOT_STORED,
    UNDECIDED,
    Ids,
    Key,
    Reason,
    Selection,
    Since,
    State,
    Until,
    read_whole_ids,
)
from streaming.cli.dlq_output import print_list, redrive_summary
from streaming.cli.output import AsJson, print_json, print_text
from streaming.errors import UsageError
from streaming.formatting import printable_text

if TYPE_CHECKING:
    from streaming.dead_letters.repair import Repair
    from streaming.settings import Settings

# What fits a screen; who wants more filters, or reads JSON.
LIST_ROWS: Final = 50

app = typer.Typer(help="What was refused, and why.", no_args_is_help=True, rich_markup_mode=None)

Yes = Annotated[bool, typer.Option("--yes", help="Do it; without, only print what it would do.")]


@app.command("list", short_help="List refused records, newest first.")
def list_dead_letters(
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    key: Key = None,
    state: State = None,
    as_json: AsJson = False,
) -> None:
    """Print the refused records, newest first, and their number by reason.

    Without --state, all whose purchase is not stored. The text has the newest 50, --json has all.

    Example: purchases dlq list --reason invalid_price
    """
    from streaming.dead_letters.render import DeadLetterList, summary
    from streaming.settings import load_settings
    from streaming.store.connection import read_store
    from streaming.store.dead_letters import count_by_reason, find_dead_letters

    settings = load_settings()
    selection = Selection(reason, since, until, key, state or NOT_STORED)
    dead_letter_filter = selection.dead_letter_filter(settings)
    with read_store(settings) as store:
        counts = count_by_reason(store, dead_letter_filter)
        dead_letters = find_dead_letters(store, dead_letter_filter, newest_first=True)
        if as_json:
            listing = DeadLetterList(counts, [summary(dead_letter) for dead_letter in dead_letters])
            print_json(listing)
        else:
            print_list(counts, list(islice(dead_letters, LIST_ROWS)))


@app.command(short_help="Show one refused record.")
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="As `dlq list` prints it.")],
    as_json: AsJson = False,
) -> None:
    """Print all that is kept of a refused record: key, headers, value, reasons, every attempt.

    ID is topic id, partition and offset; partition:offset is enough if only one record has it.

    Example: purchases dlq show 2:4711
    """
    from streaming.dead_letters.reader import DeadLetterReader
    from streaming.dead_letters.render import details, lines
    from streaming.kafka.acls import redrive_rules
    from streaming.kafka.names import Names
    from streaming.kafka.preflight import preflight
    from streaming.settings import load_settings
    from streaming.store.connection import read_store
    from streaming.store.dead_letters import find_dead_letter

    settings = load_settings()
    with read_store(settings) as store:
        dead_letter = find_dead_letter(store, name)
    cluster = preflight(settings, redrive_rules(Names.of(settings), send=False))
    with closing(DeadLetterReader(settings, cluster.bootstrap_servers)) as reader:
        last = reader.find(dead_letter)
        shown = details(dead_letter, last, reader.attempts(dead_letter), reader.read_json(last))
    if as_json:
        print_json(shown)
    else:
        print_text(lines(shown))


@app.command(short_help="Send refused records again, or repaired.")
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
        bool, typer.Option("--force", help="Also those that are parked, or sent before.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Send refused records again, as they are or repaired; the original stays in the topic.

    A dry run without --yes: it prints how many, and what today's rules would make of them. Without
    --state the open ones, with --force the parked ones too. However often it is repeated, each is
    stored once.

    Example: purchases dlq redrive --reason invalid_price --set unit_price=5 --yes
    """
    from streaming.dead_letters.redrive import RedriveRequest
    from streaming.dead_letters.redrive import redrive as send_again
    from streaming.settings import load_settings

    settings = load_settings()
    selection = Selection(reason, since, until, key, state or UNDECIDED)
    selection.refuse_stored("it needs no redrive")
    names, repair = _repair(settings, ids or [], rules or [], edit)
    dead_letter_filter = selection.dead_letter_filter(settings, names)
    with _progress() as report:
        result = send_again(
            settings, RedriveRequest(dead_letter_filter, repair, force), send=yes, report=report
        )
    if as_json:
        print_json(result)
    else:
        print_text(redrive_summary(result))


@app.command(short_help="Give up refused records, with a reason.")
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
    as_json: AsJson = False,
) -> None:
    """Drop refused records, with a reason; they are kept, and can still be redriven.

    A dry run without --yes. Without --state the open and parked ones.

    Example: purchases dlq drop --key till-7 --because "test sales of a new till" --yes
    """
    from streaming.settings import load_settings
    from streaming.store.connection import read_store, write_store
    from streaming.store.dead_letters import find_dead_letters, mark_dropped

    if not because.strip():
        raise UsageError("--because is empty; write why nobody will repair them.")
    settings = load_settings()
    selection = Selection(reason, since, until, key, state or UNDECIDED)
    selection.refuse_stored("it cannot be given up")
    whole = frozenset(read_whole_ids(settings, ids or []).values())
    dead_letter_filter = selection.dead_letter_filter(settings, whole if ids else None)
    if yes:
        # All are read before the first is marked: a cursor may or may not see rows that change
        # under it.
        with write_store(settings) as store:
            dropped = mark_dropped(
                store, list(find_dead_letters(store, dead_letter_filter)), because
            )
        text = f"OK: {dropped:,} dropped: {printable_text(because)}"
    else:
        with read_store(settings) as store:
            dropped = sum(1 for _ in find_dead_letters(store, dead_letter_filter))
        text = f"Dry run: {dropped:,} would be dropped. Add --yes to drop them."
    if as_json:
        print_json({"dropped": dropped, "dry_run": not yes})
    else:
        print_text(text)


def _repair(
    settings: "Settings", ids: list[str], rules: list[str], edit: Path | None
) -> "tuple[frozenset[str] | None, Repair]":
    """Return the whole ids that are named, also by the file of corrections, and the repair."""
    from streaming.dead_letters.repair import Repair, read_edits, read_rules

    edits = {} if edit is None else read_edits(edit)
    whole = read_whole_ids(settings, [*ids, *edits])
    repair = Repair(read_rules(rules), {whole[name]: value for name, value in edits.items()})
    return frozenset(whole.values()) if whole else None, repair


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """Show on stderr, if it is a terminal, how many dead letters were worked on."""
    from rich.progress import Progress

    from streaming.cli.console import PrintableConsole

    console = PrintableConsole(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Dead letters", total=None)
        yield lambda number: bar.update(task, completed=number)
