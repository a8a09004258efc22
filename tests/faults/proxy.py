"""A TCP proxy of the tests: it delays, slows, cuts and resets what passes through it."""

import asyncio
import socket
import struct
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from tests.support import free_port

CHUNK = 16_384
LINGER_NONE = struct.pack("ii", 1, 0)


class Proxy:
    """Listens on a port of its own and passes on to another; what it does may change any time."""

    def __init__(self, target: int) -> None:
        self.delay = 0.0
        self.bytes_per_second = 0.0
        self._open = asyncio.Event()
        self._open.set()
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self.port: int = free_port()

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", self.port))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.reset()
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)

    def cut(self) -> None:
        """Let nothing through any more, without telling anybody; connections stay open."""
        self._loop.call_soon_threadsafe(self._open.clear)

    def mend(self) -> None:
        """Let everything through again."""
        self.delay = self.bytes_per_second = 0.0
        self._loop.call_soon_threadsafe(self._open.set)

    def reset(self) -> None:
        """Reset all connections, as a firewall that restarts does."""
        self._do(self._reset())

    def _do(self, what: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401 - whatever it gives
        return asyncio.run_coroutine_threadsafe(what, self._loop).result(60)

    async def _end(self) -> None:
        """End with all tasks: one that the loop stops before its first step is a warning later."""
        self._server.close()
        # Connections of this moment become tasks in the next turn.
        await asyncio.sleep(0)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _reset(self) -> None:
        for writer in list(self._writers):
            if (connection := writer.get_extra_info("socket")) is not None:
                # A connection that the other side ended may be closed already.
                with suppress(OSError):
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NONE)
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            onward, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self._pass(reader, back), self._pass(onward, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while content := await reader.read(CHUNK):
                await self._open.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                if self.bytes_per_second:
                    await asyncio.sleep(len(content) / self.bytes_per_second)
                writer.write(content)
                await writer.drain()
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()
