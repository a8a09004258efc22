"""One look for everybody: sampled once, sent to all who listen, slow ones dropped.

What is looked at is given; nothing here knows of figures.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

from streaming.errors import PurchasesError
from streaming.system.logs import get_logger

WAITING: Final = 4
"""How many messages may wait for a listener before it is dropped: it comes back by itself."""

Look = Callable[[], bytes]


class Hub:
    """Calls each `look` in a thread while somebody listens, and keeps its last answer.

    `looks` maps a name to its function, and to how many seconds pass before it is called again.
    """

    def __init__(self, looks: Mapping[str, tuple[Look, float]]) -> None:
        self._looks = looks
        self._last: dict[str, bytes] = {}
        self._listeners: set[asyncio.Queue[bytes | None]] = set()
        self._awake = asyncio.Event()

    async def run(self) -> None:
        """Look until cancelled; a look that takes long holds up no other."""
        async with asyncio.TaskGroup() as looking:
            for name, (look, seconds) in self._looks.items():
                looking.create_task(self._repeat(name, look, seconds))

    async def _repeat(self, name: str, look: Look, seconds: float) -> None:
        while True:
            await self._awake.wait()
            await self._tick(name, look)
            await asyncio.sleep(seconds)

    async def listen(self) -> AsyncIterator[bytes]:
        """Give what is known now, then every change, as server-sent events."""
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue(WAITING)
        known = [_event(name, last) for name, last in self._last.items()]
        self._listeners.add(waiting)
        self._awake.set()
        try:
            for event in known:
                yield event
            while (content := await waiting.get()) is not None:
                yield content
        finally:
            self._forget(waiting)

    async def _tick(self, name: str, look: Look) -> None:
        try:
            content = await asyncio.to_thread(look)
        except PurchasesError as error:
            name, content = "trouble", str(error).replace("\n", " ").encode()
        except Exception:
            get_logger().exception("look_failed", look=name)
            return
        self._last[name] = content
        if name != "trouble":
            self._last.pop("trouble", None)
        event = _event(name, content)
        for waiting in list(self._listeners):
            try:
                waiting.put_nowait(event)
            except asyncio.QueueFull:
                self._drop(waiting)

    def _drop(self, waiting: "asyncio.Queue[bytes | None]") -> None:
        """Let a listener go that does not keep up; its browser connects anew."""
        self._forget(waiting)
        while not waiting.empty():
            waiting.get_nowait()
        waiting.put_nowait(None)

    def _forget(self, waiting: "asyncio.Queue[bytes | None]") -> None:
        self._listeners.discard(waiting)
        if not self._listeners:
            self._awake.clear()


def _event(name: str, content: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name.encode(), content)
