"""A time-out by a clock that a test moves, and by the machine's."""

import asyncio

import pytest

from realtime.upstream.clock import SystemClock, timeout
from tests.fakes import ManualClock


async def wait_for_ever(clock, seconds):
    async with timeout(clock, seconds):
        await asyncio.get_running_loop().create_future()


async def test_what_takes_too_long_ends_with_a_time_out():
    clock = ManualClock()
    waiting = asyncio.create_task(wait_for_ever(clock, 10.0))
    await clock.advance(9.9)
    assert not waiting.done()
    await clock.advance(0.1)
    with pytest.raises(TimeoutError):
        await waiting


async def test_what_is_done_in_time_leaves_no_timer():
    clock = ManualClock()
    async with timeout(clock, 10.0):
        assert len(clock.armed) == 1
    assert clock.armed == []


async def test_a_cancellation_is_no_time_out():
    waiting = asyncio.create_task(wait_for_ever(ManualClock(), 10.0))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_the_machines_clock_times_out_too():
    with pytest.raises(TimeoutError):
        await wait_for_ever(SystemClock(), 0.01)
