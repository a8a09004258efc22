"""Structured logs to stderr: JSON lines, or readable ones on a terminal.

No user, item or value is ever logged above debug; what an event means is its caller's matter.
"""

import logging
import sys
import time
from contextlib import suppress
from typing import Final, TextIO

if "rich" in sys.modules:
    import structlog
else:
    # structlog imports rich where it finds it, for tracebacks that we do not show: a tenth of a
    # worker's start.
    sys.modules["rich"] = None  # type: ignore[assignment]  # how Python says: not there
    try:
        import structlog
    finally:
        del sys.modules["rich"]

SELDOM_SECONDS: Final = 1.0


def configure_logs(*, debug: bool = False) -> None:
    """Set up the process's logs; `debug` lowers the level from info."""
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if debug else logging.INFO
        ),
        logger_factory=structlog.PrintLoggerFactory(_Bearing(sys.stderr)),  # type: ignore[arg-type]  # it writes
        cache_logger_on_first_use=True,
    )


class _Bearing:
    """Writes where it can: neither a full disk nor a reader that left stops anybody's work."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class Seldom:
    """Logs what comes again and again once a second at most."""

    def __init__(self) -> None:
        self._logged = 0.0

    def warning(self, event: str, **fields: object) -> None:
        """Log the event, unless one was logged within the last second."""
        if time.monotonic() - self._logged >= SELDOM_SECONDS:
            self._logged = time.monotonic()
            get_logger().warning(event, **fields)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Give a logger; its events are short names, what varies goes into the fields."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
