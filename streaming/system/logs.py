"""Structured logs on stderr: JSON lines, or readable ones on a terminal.

No user, item or value is logged above debug. docs/log-events.md lists the events.
"""

import logging
import sys
import time
from contextlib import suppress
from typing import Final, TextIO

if "rich" in sys.modules:
    import structlog
else:
    # structlog imports rich if it finds it, for tracebacks that this project does not show. That
    # takes a tenth of a worker's start.
    sys.modules["rich"] = None  # type: ignore[assignment]  # Python's mark of a missing module
    try:
        import structlog
    finally:
        del sys.modules["rich"]

from streaming.formatting import printable_lines, printable_text
from streaming.system.log_rotation import rotate_own_log

LOG_INTERVAL_SECONDS: Final = 1.0
"""A state that lasts is logged once a second at most, however often a loop meets it."""


def configure_logs(*, debug: bool = False, host: str = "") -> None:
    """Set up the process's logs; `debug` lowers the level from info, `host` is in each line."""
    rotate_own_log()
    if host:
        structlog.contextvars.bind_contextvars(host=host)
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if sys.stderr.isatty():
        renderer = structlog.dev.ConsoleRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape_texts,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.DEBUG if debug else logging.INFO
        ),
        logger_factory=structlog.WriteLoggerFactory(_BestEffortStream(sys.stderr)),  # type: ignore[arg-type]  # it writes
        cache_logger_on_first_use=True,
    )


def _escape_texts(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Escape what does not print, in every text of an event; a traceback keeps its line ends."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = printable_lines(value) if name == "exception" else printable_text(value)
    return event


class _BestEffortStream:
    """A stream whose errors are dropped: a full disk or a closed pipe stops no worker."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            self._stream.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()


class RateLimitedLogger:
    """A logger of one repeated event: at most one line a second."""

    def __init__(self) -> None:
        self._logged_at = 0.0

    def warning(self, event: str, **fields: object) -> None:
        """Log the event, unless one was logged within the last second."""
        if time.monotonic() - self._logged_at >= LOG_INTERVAL_SECONDS:
            self._logged_at = time.monotonic()
            get_logger().warning(event, **fields)


def get_logger() -> structlog.typing.FilteringBoundLogger:
    """Return a logger. Events are short fixed names; what varies is in the fields."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()
    return logger
