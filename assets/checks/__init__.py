"""Asset checks: what Dagster shows as passed or failed beside a table."""
