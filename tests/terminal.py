"""A terminal of its own for a command: what it writes is read, and the terminal may be closed."""

import os
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

CTRL_C = b"\x03"
KEPT_BYTES = 10_000
TAKE_TERMINAL = (
    "import fcntl, os, signal, sys, termios; signal.signal(signal.SIGHUP, signal.SIG_DFL);"
    " fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Python that makes its standard input the terminal of its session, and becomes the command.

Under `nohup`, tests inherit that SIGHUP is ignored, and would pass that on.
"""


class Terminal:
    """The terminal of `process`, until it is closed; `written` is the last that was written."""

    def __init__(self, process: "subprocess.Popen[bytes]", keyboard: int) -> None:
        self.process = process
        self.written = b""
        self._keyboard = keyboard
        self._closing = threading.Event()
        self._reader = threading.Thread(target=self._read, name="terminal")
        self._reader.start()

    def type(self, keys: bytes) -> None:
        """Press keys; Ctrl-C reaches all processes in the foreground."""
        os.write(self._keyboard, keys)

    def close(self) -> None:
        """Close it, as somebody who closes the window: the system sends SIGHUP."""
        if not self._closing.is_set():
            self._closing.set()
            self._reader.join()
            os.close(self._keyboard)

    def _read(self) -> None:
        # Unread, what the command writes would soon stop it.
        while not self._closing.is_set():
            if select.select([self._keyboard], [], [], 0.05)[0]:
                try:
                    self.written = (self.written + os.read(self._keyboard, 65_536))[-KEPT_BYTES:]
                except OSError:  # nobody has the other side any more
                    return


@contextmanager
def in_terminal(
    command: Sequence[str], environment: Mapping[str, str], errors: Path | None = None
) -> Iterator[Terminal]:
    """Start a command in a session of its own, in the foreground of a new terminal.

    What it logs goes to the file `errors`, if there is one.
    """
    keyboard, screen = os.openpty()
    termios.tcsetwinsize(screen, (50, 120))
    with errors.open("ab") if errors else os.fdopen(screen, "wb", closefd=False) as log:
        process = subprocess.Popen(
            [sys.executable, "-c", TAKE_TERMINAL, *command],
            env=environment,
            stdin=screen,
            stdout=screen,
            stderr=log,
            start_new_session=True,
        )
    os.close(screen)
    terminal = Terminal(process, keyboard)
    try:
        yield terminal
    finally:
        terminal.close()
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
