"""The event store: opening, migrations, views, upkeep, figures."""
