"""SQL expressions that show integer times, money and flags as people read them, for the views.

Revisions use them when they run, so what an expression gives must not change; add a new one.
"""


def utc(column: str) -> str:
    """Return µs since 1970 as `2011-03-27 10:15:00.000000`, in UTC; before 1970 too."""
    # SQL's % has the sign of what is divided: before 1970 the fraction would be negative.
    fraction = f"(({column} % 1000000 + 1000000) % 1000000)"
    seconds = f"(({column} - {fraction}) / 1000000)"
    return f"strftime('%Y-%m-%d %H:%M:%S', {seconds}, 'unixepoch') || printf('.%06d', {fraction})"


def utc_of_milliseconds(column: str) -> str:
    """Return ms since 1970 as `2011-03-27 10:15:00.000`, in UTC."""
    return (
        f"strftime('%Y-%m-%d %H:%M:%S', {column} / 1000, 'unixepoch')"
        f" || printf('.%03d', {column} % 1000)"
    )


def money(column: str) -> str:
    """Return micros as an exact decimal with at least two decimals, such as `-12.345`; as text."""
    # By integers: a float holds 15 digits, and sums have more.
    whole = f"printf('%s%d', iif({column} < 0, '-', ''), abs({column}) / 1000000)"
    cents = f"printf('.%02d', abs({column}) % 1000000 / 10000)"
    rest = f"rtrim(printf('%04d', abs({column}) % 10000), '0')"
    return f"CASE WHEN {column} IS NOT NULL THEN {whole} || {cents} || {rest} END"


def money_sum(trillions: str, micros: str) -> str:
    """Return a sum in two columns of one sign as an exact decimal, as `money` does."""
    sign = f"iif({trillions} < 0 OR {micros} < 0, '-', '')"
    small = f"abs({micros}) / 1000000"
    large = f"printf('%d%012d', abs({trillions}), {small})"
    cents = f"printf('.%02d', abs({micros}) % 1000000 / 10000)"
    rest = f"rtrim(printf('%04d', abs({micros}) % 10000), '0')"
    return f"{sign} || iif({trillions} = 0, {small}, {large}) || {cents} || {rest}"


def event_id(column: str) -> str:
    """Return the text of an event id that `events.identifiers.pack_event_id` packed."""
    starts = ((1, 4), (5, 2), (7, 2), (9, 2), (11, 6))
    parts = " || '-' || ".join(f"hex(substr({column}, {first}, {n}))" for first, n in starts)
    return f"CASE length({column}) WHEN 16 THEN lower({parts}) ELSE CAST({column} AS TEXT) END"


def source_topic(column: str) -> str:
    """Return the name of the topic whose id in `source_topic` is in the column."""
    return f"(SELECT t.name FROM source_topic t WHERE t.id = {column})"


def view(name: str, select: dict[str, str], rest: str) -> str:
    """Return the statement that makes a view of these columns (name: expression), then `rest`."""
    columns = ",\n  ".join(f'{expression} AS "{column}"' for column, expression in select.items())
    return f"CREATE VIEW {name} AS SELECT\n  {columns}\n{rest}"


def create_view(name: str, select: dict[str, str], rest: str) -> None:
    """Make such a view in the database that is migrated, by the functions that it has.

    Revisions up to 0015 need not: on PostgreSQL all their views are made at once.
    """
    from alembic import op

    statement = view(name, select, rest)
    if op.get_bind().dialect.name == "postgresql":
        from streaming.store.postgres_schema import translate_view

        statement = translate_view(statement)
    op.execute(statement)
