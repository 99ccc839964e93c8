"""Time, as something that can be handed in: the system's here, one moved by hand in the tests."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol


class Handle(Protocol):
    def cancel(self) -> None:
        """Disarm; harmless after it fired."""


class Clock(Protocol):
    """``monotonic`` stops while the machine sleeps, ``boottime`` does not; both are in seconds.

    Deadlines are in monotonic seconds. When a frame was heard is in seconds of boot time, or a sleep would be taken for
    time in which it was proven that nothing is missing.
    """

    def monotonic(self) -> float: ...

    def boottime(self) -> float: ...

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Handle:
        """Call back at a monotonic time, or as soon as possible after it."""


class SystemClock:
    """The machine's clock; timers are those of the running loop, whose time is monotonic."""

    def monotonic(self) -> float:
        return time.monotonic()

    if hasattr(time, "CLOCK_BOOTTIME"):

        def boottime(self) -> float:
            return time.clock_gettime(time.CLOCK_BOOTTIME)

    else:

        def boottime(self) -> float:
            return time.time()

    def call_at(self, deadline: float, callback: Callable[[], None]) -> Handle:
        loop = asyncio.get_running_loop()
        return loop.call_at(loop.time() + deadline - time.monotonic(), callback)


def monotonic_at(clock: Clock, boottime: float) -> float:
    """Return the monotonic time of a moment in boot time, as if the machine had not slept since."""
    return clock.monotonic() - (clock.boottime() - boottime)


@asynccontextmanager
async def timeout(clock: Clock, seconds: float) -> AsyncIterator[None]:
    """As ``asyncio.timeout``, by this clock: raises TimeoutError when the body is not done after ``seconds``."""
    async with asyncio.timeout(None) as limit:
        handle = clock.call_at(clock.monotonic() + seconds, lambda: limit.reschedule(0.0))
        try:
            yield
        finally:
            handle.cancel()


async def sleep(clock: Clock, seconds: float) -> None:
    """As ``asyncio.sleep``, by this clock."""
    woken = asyncio.Event()
    handle = clock.call_at(clock.monotonic() + seconds, woken.set)
    try:
        await woken.wait()
    finally:
        handle.cancel()
