"""When a process looks for garbage: not while it loads what it keeps, and rarely while it works.

Nothing of what is loaded belongs here.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

GC_THRESHOLDS: Final = (200_000, 50, 100)
"""Instead of Python's 700, 10 and 10. Cycles are still found, once in many batches."""


@contextmanager
def kept_modules() -> Iterator[None]:
    """Import inside without collecting garbage, and never look at what was imported again.

    Modules stay to the end, so that to go through them frees nothing.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


@contextmanager
def collect_rarely() -> Iterator[None]:
    """Look for cycles of objects less often inside; with all of Dagster it takes 5 to 10 %."""
    before = gc.get_threshold()
    gc.set_threshold(*GC_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
