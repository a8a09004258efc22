"""How a process loads what it keeps to its end; nothing of what is loaded belongs here."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


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
