"""Who has an open browser, as web processes say and workers hear."""

import pytest

from realtime import demand

pytestmark = pytest.mark.feature("S4.5")


async def pass_by(redis, seconds):
    """Let this much time pass: Valkey's clock can't be moved, so its deadlines are."""
    for member in await redis.zrange(demand.KEY, 0, -1):
        await redis.zincrby(demand.KEY, -seconds, member)


async def test_who_is_announced_is_present_for_a_while(redis):
    await demand.announce(redis, {1, 2})
    await pass_by(redis, demand.LASTS - 2)
    await demand.announce(redis, {2})
    assert await demand.present(redis) == {1, 2}
    await pass_by(redis, 3)
    assert await demand.present(redis) == {2}


async def test_two_announcements_may_be_lost(redis):
    await demand.announce(redis, {1})
    await pass_by(redis, 2 * demand.ANNOUNCE_EVERY + 1)
    assert await demand.present(redis) == {1}


async def test_the_clocks_of_web_process_and_worker_need_not_agree(redis, monkeypatch):
    await demand.announce(redis, {1})
    monkeypatch.setattr("time.time", lambda: 4_000_000_000.0)
    assert await demand.present(redis) == {1}


async def test_nobody_announced_is_nobody_present(redis):
    await demand.announce(redis, set())
    assert await demand.present(redis) == set()


async def test_who_is_long_gone_takes_no_room(redis):
    await demand.announce(redis, range(100))
    await pass_by(redis, 3 * demand.LASTS)
    await demand.present(redis)
    assert await redis.zcard(demand.KEY) == 0
