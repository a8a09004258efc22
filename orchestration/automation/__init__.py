"""What Dagster does unasked: sensors, schedules, run requests, retention."""
