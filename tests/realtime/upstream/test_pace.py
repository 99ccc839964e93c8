"""Turns at the rate that the service takes, by a clock that the test moves."""

import asyncio

from realtime.appsync.publishing import MAX_PER_SECOND
from realtime.upstream.pace import Pace
from tests.fakes import ManualClock, settle


async def test_b73_no_second_has_more_turns_than_the_service_takes():
    clock, taken = ManualClock(), []
    pace = Pace(clock)

    async def take():
        await pace.turn()
        taken.append(clock.monotonic())

    waiting = [asyncio.create_task(take()) for _ in range(3 * MAX_PER_SECOND)]
    await clock.advance(10.0)
    await asyncio.gather(*waiting)
    assert all(later - earlier >= 1.0 - 1e-6 for earlier, later in zip(taken, taken[MAX_PER_SECOND:], strict=False))
    assert taken[-1] - taken[0] < 3.1
    assert clock.armed == []


async def test_nobody_waits_after_the_stop():
    clock = ManualClock()
    pace = Pace(clock)
    await pace.turn()
    waiting = [asyncio.create_task(pace.turn()), asyncio.create_task(pace.pause(60.0))]
    await settle()
    assert not any(task.done() for task in waiting)
    pace.stop()
    await settle()
    assert all(task.done() for task in waiting)
    await pace.turn()
    await pace.pause(60.0)
    assert clock.armed == []


async def test_who_is_cancelled_leaves_no_timer():
    clock = ManualClock()
    pausing = asyncio.create_task(Pace(clock).pause(60.0))
    await settle()
    pausing.cancel()
    await settle()
    assert clock.armed == []
