"""Who has an open browser, as web processes say and workers hear."""

import pytest

from realtime import demand

pytestmark = pytest.mark.feature("S4.5")


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1_000.0

        def time(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(demand, "time", clock)
    return clock


async def test_who_is_announced_is_present_for_a_while(redis, clock):
    await demand.announce(redis, {1, 2})
    clock.now += demand.LASTS - 1
    await demand.announce(redis, {2})
    assert await demand.present(redis) == {1, 2}
    clock.now += 2
    assert await demand.present(redis) == {2}


async def test_two_announcements_may_be_lost(redis, clock):
    await demand.announce(redis, {1})
    clock.now += 2 * demand.ANNOUNCE_EVERY + 1
    assert await demand.present(redis) == {1}


async def test_nobody_announced_is_nobody_present(redis):
    await demand.announce(redis, set())
    assert await demand.present(redis) == set()


async def test_who_is_long_gone_takes_no_room(redis, clock):
    await demand.announce(redis, range(100))
    clock.now += 3 * demand.LASTS
    await demand.present(redis)
    assert await redis.zcard(demand.KEY) == 0
