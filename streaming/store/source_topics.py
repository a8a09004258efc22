"""The ids of the topics that events are made of, which a row holds in place of the name."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine


def record_source_topics(engine: "Engine", names: Iterable[str]) -> dict[str, int]:
    """Return each topic's id by its name; a new name gets the next id.

    `engine` is one that writes.
    """
    # In the order of names: of two equal sources the lower id wins, in every database the same.
    ordered = sorted(names)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            # On PostgreSQL a conflict alone would use up an id at every start.
            "INSERT INTO source_topic (name) SELECT ? WHERE NOT EXISTS"
            " (SELECT 1 FROM source_topic WHERE name = ?) ON CONFLICT (name) DO NOTHING",
            [(name, name) for name in ordered],
        )
        rows = connection.exec_driver_sql("SELECT name, id FROM source_topic")
        ids: dict[str, int] = {row.name: row.id for row in rows}
    return {name: ids[name] for name in ordered}
