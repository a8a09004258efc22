"""What errors of files mean to a person; those of SQLite are in `store.sqlite`."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from streaming.errors import PurchasesError, Unavailable

_NO_SPACE: Final = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` inside into a sentence about the file it names, or else about `path`.

    Raises `Unavailable` if the disk is full, `PurchasesError` for any other. A reader of our
    output that left is no error of a file and passes through.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise Unavailable(f"The disk of {path} is full; free some space.") from error
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise PurchasesError(f"{error.filename or path} cannot be used: {reason}.") from error
