"""The bar of a download whose client reports nothing: it follows the size of a directory.

What is downloaded, and from where, does not belong here.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

LOOK_SECONDS: Final = 0.3
"""Between two looks at the size of the file that is downloaded."""


@contextmanager
def show_download(directory: Path, total: int) -> Iterator[None]:
    """Show on a terminal how many of `total` bytes are in `directory`, until the block ends."""
    from rich.console import Console  # noqa: TID251 - no text of others is drawn here
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    console, ended = Console(stderr=True), threading.Event()
    if not console.is_terminal:
        yield
        return
    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)

        def follow() -> None:
            while not ended.wait(LOOK_SECONDS):
                bar.update(task, completed=_size(directory))

        thread = threading.Thread(target=follow, name="download-bar", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _size(directory: Path) -> int:
    size = 0
    for path in directory.rglob("*"):
        with suppress(FileNotFoundError):  # a file that is renamed when it is complete
            size += path.stat().st_size
    return size
