"""The readers of a comparison: processes of their own if much is to be read, else this one.

They see the store at the moment of the caller's snapshot. What a reader does is in
`partition_reader`.
"""

import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from mmap import mmap
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from multiprocessing.resource_tracker import ensure_running
from typing import Any, Final, TypeVar

from streaming.errors import PurchasesError
from streaming.settings import Settings
from streaming.store.connection import StoreConnection, open_reader
from streaming.verification.partition_reader import OnRecords, PartitionReader

MANY_ROWS: Final = 250_000
"""Rows for which a second process pays: fewer are read before it has started."""
STOP_SECONDS: Final = 5.0
"""A reader has nothing to finish; what does not end by then is killed."""

Argument = TypeVar("Argument")
Result = TypeVar("Result")
Step = Callable[[PartitionReader, Argument, OnRecords], Result]


class Readers:
    """The readers, as many as `number`; each step is done by all of them at once."""

    number = 1

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def begin(self, store: StoreConnection) -> None:
        """Begin the snapshots; the caller sees to it that nobody writes meanwhile."""
        self._reader = PartitionReader(self._settings, store, partial(mmap, -1))

    def run(
        self,
        step: Step[Argument, Result],
        arguments: Sequence[Argument],
        on_records: OnRecords,
    ) -> list[Result]:
        """Do a step in each reader, with an argument for each."""
        return [step(self._reader, argument, on_records) for argument in arguments]


class ReaderProcesses(Readers):
    """Readers in processes of their own; `connections` lead to them."""

    def __init__(
        self, settings: Settings, processes: Sequence[BaseProcess], connections: list[Connection]
    ) -> None:
        super().__init__(settings)
        self.number = len(processes)
        self._processes = processes
        self._connections = connections

    def begin(self, store: StoreConnection) -> None:
        """Begin the snapshot of each process beside that of `store`."""
        super().begin(store)
        for connection in self._connections:
            self._send(connection, None)
        self._collect(lambda _: None)

    def run(
        self,
        step: Step[Argument, Result],
        arguments: Sequence[Argument],
        on_records: OnRecords,
    ) -> list[Result]:
        """Do a step in all processes; raise what it raises, and `PurchasesError` if one ends."""
        for connection, argument in zip(self._connections, arguments, strict=True):
            self._send(connection, (step, argument))
        return self._collect(on_records)

    def wait_until_open(self) -> None:
        """Wait until each process has opened the store."""
        self._collect(lambda _: None)

    def _collect(self, on_records: OnRecords) -> list[Any]:
        """Wait for an answer of each process; numbers are records that it has read."""
        results: dict[Connection, Any] = {}
        while len(results) < self.number:
            for connection in wait([c for c in self._connections if c not in results]):
                answer = self._receive(connection)  # type: ignore[arg-type]
                if isinstance(answer, int):
                    on_records(answer)
                elif isinstance(answer, BaseException):
                    raise answer
                else:
                    results[connection] = answer  # type: ignore[index]
        return [results[connection][0] for connection in self._connections]

    def _send(self, connection: Connection, question: object) -> None:
        try:
            connection.send(question)
        except ConnectionError:
            raise self._describe_end(connection) from None

    def _receive(self, connection: Connection) -> Any:  # noqa: ANN401 - what a step returns
        try:
            return connection.recv()
        except (EOFError, ConnectionError):
            raise self._describe_end(connection) from None

    def _describe_end(self, connection: Connection) -> PurchasesError:
        """Return the error of a process that has ended, at its end of the connection."""
        process = self._processes[self._connections.index(connection)]
        process.join(STOP_SECONDS)
        return PurchasesError(
            f"Process {process.pid} of this verification {_end_of(process)} before it had read its"
            " partitions. Nothing was decided; verify again, with more free memory if that is what"
            " ended it."
        )


@contextmanager
def start_readers(settings: Settings, rows: int) -> Iterator[Readers]:
    """Start as many readers as there are cores if so many rows are compared, and end them.

    Raises what opening the store in one of them raises.
    """
    # The cores of this process, not of the machine. Memory without a name can be shared on Linux
    # only.
    number = len(os.sched_getaffinity(0)) if sys.platform == "linux" else 1
    if rows < MANY_ROWS or number == 1:
        yield Readers(settings)
        return
    # A forked child of a process with Kafka clients or threads may hang.
    context = get_context("spawn")
    processes, connections = [], []
    with ExitStack() as opened:
        # A file would stay behind after a kill, and /dev/shm has 64 MB in a container
        # (docs/decisions/0061).
        memory = os.memfd_create("purchases-verify")
        opened.callback(os.close, memory)
        for _ in range(number):
            ours, theirs = context.Pipe()
            opened.enter_context(closing(ours))
            with closing(theirs):
                process = context.Process(
                    target=_serve, args=(settings, theirs, DupFd(memory)), daemon=True
                )
                _start(process)
            opened.callback(_end, process)
            processes.append(process)
            connections.append(ours)
        readers = ReaderProcesses(settings, processes, connections)
        # Before `begin`, which runs under the write lock: a process takes a second to start.
        readers.wait_until_open()
        yield readers


def _start(process: BaseProcess) -> None:
    """Start a process that a Ctrl-C does not reach: the one that started it ends it."""
    # Its own start would let the signal through again.
    ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end(process: BaseProcess) -> None:
    process.terminate()
    process.join(STOP_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()


def _end_of(process: BaseProcess) -> str:
    """Return how a process ended, in words."""
    code = process.exitcode
    if code is not None and code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    return f"ended with exit code {code}"


def _serve(settings: Settings, connection: Connection, memory: Any) -> None:  # noqa: ANN401 - a DupFd
    """Do in this process what is asked over the connection, until it is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with closing(open_reader(settings)) as store:
            connection.send((None,))
            connection.recv()
            with store.snapshot(temporary=True) as snapshot:
                connection.send((None,))
                reader = PartitionReader(settings, snapshot, partial(_map_shared, memory.detach()))
                while True:
                    step, argument = connection.recv()
                    # In a tuple, which tells a result from a number of records and from an error.
                    connection.send((step(reader, argument, connection.send),))
    except (EOFError, BrokenPipeError):
        return
    except Exception as error:  # noqa: BLE001 - raised by the process that waits for an answer
        connection.send(_sendable(error))


def _sendable(error: Exception) -> Exception:
    """Return an error as itself if another process can read it, else by its name and text."""
    # Those of Kafka's client cannot be pickled, and some of other packages not be read again.
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301 - made in this line
    except Exception:  # noqa: BLE001 - whatever its class raises
        return PurchasesError(f"{type(error).__name__}: {error}")
    return error


def _map_shared(memory: int, size: int) -> mmap:
    # All processes set the same size, whichever comes first.
    os.ftruncate(memory, size)
    return mmap(memory, size)


def _end_with_parent() -> None:
    """End at once when the process that started this one has ended, however it did."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        # `sys.exit` would end this thread only, and the main one may wait inside a client's call.
        os._exit(1)
