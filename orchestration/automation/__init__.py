"""The automation of Dagster: sensors, schedules, run requests, retention."""
