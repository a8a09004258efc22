"""Server-sent events: each source is sampled once for all clients, who get its latest answer.

A client that is slow skips what is no longer the latest, so that nothing queues up. What is sampled
is given; no figure is in here.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import suppress
from typing import Final, NamedTuple

from starlette.responses import StreamingResponse
from starlette.types import Message, Send

from streaming.errors import PurchasesError
from streaming.system.logs import get_logger

MAX_CLIENTS: Final = 1_000
"""Each open tab is a client with a socket; a process has 1,024 file descriptors by default, of
which requests and the database need some more than 20."""
SEND_SECONDS: Final = 10.0
"""A client that takes nothing for so long is gone. Longer than the browser's pause in background
tabs, and five times shorter than TCP would take to notice."""
TROUBLE: Final = "trouble"


class Source(NamedTuple):
    """A function that blocks and returns JSON, and the seconds between two calls."""

    sample: Callable[[], bytes]
    seconds: float


class Broadcaster:
    """Samples each source while somebody listens, and sends its latest answer to all clients."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self._latest: dict[str, tuple[int, bytes]] = {}
        self._version = 0
        self._changed = asyncio.Condition()
        self._has_clients = asyncio.Event()
        self._clients = 0
        self._closed = False

    @property
    def is_full(self) -> bool:
        """Whether no more clients are taken."""
        return self._clients >= MAX_CLIENTS

    async def run(self) -> None:
        """Sample until cancelled; a source that takes long delays no other."""
        async with asyncio.TaskGroup() as group:
            for name, source in self._sources.items():
                group.create_task(self._sample_repeatedly(name, source))

    async def subscribe(self) -> AsyncIterator[bytes]:
        """Yield the latest events, then every change, until closed."""
        seen = 0
        self._clients += 1
        self._has_clients.set()
        try:
            while not self._closed:
                async with self._changed:
                    while self._version == seen and not self._closed:
                        await self._changed.wait()
                    events = [event for version, event in self._latest.values() if version > seen]
                    seen = self._version
                # Outside of the lock: a client that is slow to take this must not stop the others.
                yield b"".join(events)
        finally:
            self._clients -= 1
            if not self._clients:
                self._has_clients.clear()

    async def close(self) -> None:
        """End all streams; the browsers connect again when there is a server again."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def _sample_repeatedly(self, name: str, source: Source) -> None:
        while True:
            await self._has_clients.wait()
            try:
                answer = await asyncio.to_thread(source.sample)
            except PurchasesError as error:
                await self._publish(TROUBLE, str(error).replace("\n", " ").encode())
            except Exception:
                get_logger().exception("sample_failed", source=name)
            else:
                # A client that comes now must not see trouble that is over.
                self._latest.pop(TROUBLE, None)
                await self._publish(name, answer)
            # A pause, not a period: a source that takes long must not be sampled without a break.
            await asyncio.sleep(source.seconds)

    async def _publish(self, name: str, data: bytes) -> None:
        event = b"event: %s\ndata: %s\n\n" % (name.encode(), data)
        async with self._changed:
            self._version += 1
            # Replaced, not queued: a slow client gets the newest of each source, and memory stays
            # bounded.
            self._latest[name] = (self._version, event)
            self._changed.notify_all()


class EventStreamResponse(StreamingResponse):
    """A stream of events that ends if its client takes nothing for `SEND_SECONDS`."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncIterator[bytes]) -> None:
        # Nginx would hold events back until a buffer is full.
        headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
        super().__init__(events, headers=headers)

    async def stream_response(self, send: Send) -> None:
        """Send events until the stream ends, or the client takes no more."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        with suppress(TimeoutError):
            await super().stream_response(send_in_time)
