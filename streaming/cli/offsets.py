"""`offsets list|reset`: the positions of both apps, and how a wrong one is changed.

How positions are read is in `offsets.positions`, how they are changed in `offsets.reset`.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from streaming.cli.output import AsJson, print_json, print_text
from streaming.cli.times import read_time

if TYPE_CHECKING:
    from streaming.offsets.reset import Target
    from streaming.settings import Settings

app = typer.Typer(help="Stored positions.", no_args_is_help=True, rich_markup_mode=None)


SAID = {
    "ok": "",
    "new": "no position yet: begins with the first record",
    "lost": "{missing:,} records were deleted before they were read",
    "ahead": "beyond the end: the log was truncated, or the database is newer than it",
    "other_topic": "of a topic that was deleted and created again",
    "other_cluster": "of another cluster",
    "deleted": "deleted by Kafka: with its topic, or because nothing ran for long",
}


@app.command("list", short_help="List the stored positions of both apps.")
def list_offsets(as_json: AsJson = False) -> None:
    """Print the stored positions of both apps, what the log holds, and what is wrong with them.

    Example: purchases offsets list
    """
    from streaming.offsets.positions import list_positions
    from streaming.settings import load_settings

    positions = list_positions(load_settings())
    if as_json:
        print_json({"positions": positions})
        return
    print_text(f"{'app':<10}{'partition':<24}{'position':>12}{'log from':>12}{'to':>12}")
    for p in positions:
        at = "none" if p.position < 0 else f"{p.position:,}"
        said = SAID[p.state].format(missing=p.missing)
        partition = f"{p.topic}-{p.partition}"
        print_text(f"{p.app:<10}{partition:<24}{at:>12}{p.first:>12,}{p.end:>12,}  {said}".rstrip())


@app.command(short_help="Move an app's stored positions.")
def reset(  # noqa: PLR0913 - a command's options are its parameters
    name: Annotated[str, typer.Argument(metavar="APP", help="processor or analytics.")],
    to: Annotated[
        str,
        typer.Option(metavar="earliest|latest|OFFSET|TIME", help="Where to go on."),
    ],
    topic: Annotated[str | None, typer.Option(help="Only of this topic.")] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition.")] = None,
    *,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it; without, only print what it would do.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Move an app's stored positions; a dry run without --yes, refused while the app runs.

    What is read again is still stored once; what is skipped is not stored.

    Example: purchases offsets reset analytics --to earliest --yes
    """
    from streaming.offsets.reset import PartitionFilter
    from streaming.offsets.reset import reset as move
    from streaming.settings import load_settings

    settings = load_settings()
    partitions = PartitionFilter(topic, partition)
    moves = move(settings, name, _target(to, settings), partitions, apply=yes)
    if as_json:
        print_json({"moved": yes, "positions": moves})
        return
    if yes:
        print_text(f"OK: {len(moves):,} positions are moved.")
    else:
        print_text(f"Dry run: {len(moves):,} positions would be moved. Add --yes to move them.")
    for moved in moves:
        before = "no position" if moved.before < 0 else f"{moved.before:,}"
        most = "at most " if moved.before < 0 else ""
        print_text(
            f"{moved.topic}-{moved.partition}: {before} → {moved.after:,}"
            f" ({most}{moved.skipped:,} skipped, {most}{moved.repeated:,} read again)"
        )


def _target(text: str, settings: "Settings") -> "Target":
    from streaming.offsets.reset import Target

    if text in {"earliest", "latest"}:
        return Target(text)
    if text.isdecimal():
        return Target(text, offset=int(text))
    return Target(text, time=read_time("--to", text, settings))
