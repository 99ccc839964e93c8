"""Turns to dial: so many at once, so many a second, and for all workers together."""

import asyncio

import pytest
from redis.asyncio import Redis

from realtime.upstream.permits import AT_ONCE, LocalRate, Permits, SharedRate
from tests.fakes import ManualClock, settle


class Dialler:
    """Asks for turns, and notes when each came."""

    def __init__(self, permits, clock):
        self.permits, self.clock = permits, clock
        self.began = []
        self.release = asyncio.Event()

    async def dial(self):
        async with self.permits.turn():
            self.began.append(self.clock.monotonic())
            await self.release.wait()


async def test_no_more_dial_at_once_than_may():
    clock = ManualClock()
    dialler = Dialler(Permits(LocalRate(clock), clock, at_once=3), clock)
    tasks = [asyncio.create_task(dialler.dial()) for _ in range(10)]
    await settle()
    assert len(dialler.began) == 3
    dialler.release.set()
    await asyncio.gather(*tasks)
    assert len(dialler.began) == 10


@pytest.mark.feature("S0.5")
async def test_an_outage_that_ends_for_all_is_left_at_the_rate():
    clock = ManualClock()
    dialler = Dialler(Permits(LocalRate(clock, per_second=100.0), clock), clock)
    dialler.release.set()
    tasks = [asyncio.create_task(dialler.dial()) for _ in range(1_000)]
    await clock.advance(9.7)
    assert len(dialler.began) < 1_000
    await clock.advance(0.5)
    await asyncio.gather(*tasks)
    busiest = max(sum(start <= at < start + 1.0 for at in dialler.began) for start in dialler.began)
    assert busiest <= 100 + 16 + 1


async def test_who_stops_waiting_takes_no_turn_from_others():
    clock = ManualClock()
    permits = Permits(LocalRate(clock), clock, at_once=1)
    dialler = Dialler(permits, clock)
    first, second, third = (asyncio.create_task(dialler.dial()) for _ in range(3))
    await settle()
    second.cancel()
    dialler.release.set()
    await asyncio.gather(first, third)
    assert len(dialler.began) == 2


@pytest.mark.feature("S0.5")
async def test_a_turn_that_was_waited_for_in_vain_goes_to_the_next():
    """Else a queue as long as anyone waits would use up the rate with no dial at all."""
    clock = ManualClock()
    permits = Permits(LocalRate(clock, per_second=1.0), clock)
    early, late = Dialler(permits, clock), Dialler(permits, clock)
    early.release.set(), late.release.set()
    given_up = [asyncio.create_task(early.dial()) for _ in range(100)]
    await clock.advance(60.5)
    waiting = [asyncio.create_task(late.dial()) for _ in range(10)]
    for task in given_up:
        task.cancel()
    began = clock.monotonic()
    await clock.advance(10.0)
    assert len(early.began) == 60 + AT_ONCE + 1
    assert [at - began for at in late.began] == pytest.approx([0.5 + second for second in range(10)])
    await asyncio.gather(*waiting)


async def test_all_workers_share_the_rate(valkey):
    clock = ManualClock()
    async with Redis.from_url(valkey.url) as redis:
        rates = [SharedRate(redis, "appsync.example", clock, per_second=10.0) for _ in range(2)]
        waits = [await rates[number % 2].reserve() for number in range(40)]
        assert waits[:16] == [0.0] * 16
        assert 1.5 < waits[-1] <= 2.4
        assert await SharedRate(redis, "elsewhere.example", clock).reserve() == 0.0


async def test_without_valkey_a_worker_keeps_to_the_rate_by_itself(caplog):
    class Away:
        def register_script(self, text):
            async def fail(keys, args):
                raise ConnectionError("refused")

            return fail

    clock = ManualClock()
    rate = SharedRate(Away(), "appsync.example", clock, per_second=10.0)
    waits = [await rate.reserve() for _ in range(20)]
    assert waits[15] == 0.0 and waits[-1] == pytest.approx(0.3)
    assert caplog.text.count("Valkey is away") == 1
