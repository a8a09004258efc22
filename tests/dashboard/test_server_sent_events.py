"""Server-sent events without a server: sampled once, the latest for everybody, ended at a close."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from streaming.dashboard.server_sent_events import Broadcaster, Source
from streaming.errors import PurchasesError

DEADLINE = 60.0


@asynccontextmanager
async def running(sample: Callable[[], bytes]) -> AsyncIterator[Broadcaster]:
    """A broadcaster of one source, sampled a hundred times a second."""
    broadcaster = Broadcaster({"now": Source(sample, 0.01)})
    task = asyncio.create_task(broadcaster.run())
    yield broadcaster
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a test on an event loop, with a deadline."""
    asyncio.run(asyncio.wait_for(test(), DEADLINE))


async def read_until(stream: AsyncIterator[bytes], text: bytes) -> bytes:
    """Return the first chunk of a stream that has a text."""
    async for chunk in stream:
        if text in chunk:
            return chunk
    raise AssertionError(text)


def count() -> Callable[[], bytes]:
    """A source that counts its calls."""
    calls = iter(range(1_000_000))
    return lambda: b"%d." % next(calls)


def test_a_client_that_was_slow_goes_on_with_the_latest() -> None:
    """It gets one event for all that it missed, and holds up nobody."""

    async def test() -> None:
        async with running(count()) as broadcaster:
            slow, fast = broadcaster.subscribe(), broadcaster.subscribe()
            first = await anext(slow)
            await read_until(fast, b" 20.")
            second = await anext(slow)
            assert first.count(b"event:") == second.count(b"event:") == 1
            assert int(second.split()[-1][:-1]) >= 20

    run(test)


def test_nothing_is_sampled_while_nobody_listens() -> None:
    """The last client to leave stops the sampling."""

    async def test() -> None:
        calls = 0

        def sample() -> bytes:
            nonlocal calls
            calls += 1
            return b"x"

        async with running(sample) as broadcaster:
            stream = broadcaster.subscribe()
            await anext(stream)
            await stream.aclose()  # type: ignore[attr-defined]  # it is a generator
            # What a thread has begun may still end, on a busy machine late.
            for _ in range(100):
                before = calls
                await asyncio.sleep(0.3)
                if calls == before:
                    break
            assert calls == before

    run(test)


def test_trouble_is_an_event_until_a_sample_succeeds() -> None:
    """A client that comes later hears nothing of trouble that is over."""

    async def test() -> None:
        answers = iter([None, b"1."])

        def sample() -> bytes:
            if (answer := next(answers, b"2.")) is None:
                raise PurchasesError("the database\nis gone")
            return answer

        async with running(sample) as broadcaster:
            stream = broadcaster.subscribe()
            assert b"data: the database is gone" in await read_until(stream, b"event: trouble")
            await read_until(stream, b"2.")
            assert b"trouble" not in await anext(broadcaster.subscribe())

    run(test)


def test_a_close_ends_every_stream() -> None:
    """Otherwise the server would wait for the browsers at its stop."""

    async def test() -> None:
        async with running(count()) as broadcaster:
            streams = [broadcaster.subscribe() for _ in range(3)]
            for stream in streams:
                await anext(stream)
            await broadcaster.close()
            for stream in streams:
                async for _ in stream:
                    pass

    run(test)
