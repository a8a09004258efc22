"""The life of a worker process: heartbeat, watchdog, status file, supervisor."""
