"""From committed entries to streams and groups, with a Valkey that comes and goes."""

import asyncio
from contextlib import asynccontextmanager

import msgspec
import pytest
from prometheus_client import REGISTRY

from realtime import feed, groups, history, relay
from realtime.models import FeedEntry, Topic
from realtime.relay import Relay
from tests.realtime.drafts import draft, write, write_many

pytestmark = pytest.mark.feature("S4.12")
TOPIC = "user.1"
DEADLINE = 15


@pytest.fixture
def relaying(redis, layer, database):
    return Relay(redis, layer, database)


@asynccontextmanager
async def running(relaying):
    task = asyncio.create_task(relaying.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(condition):
    async with asyncio.timeout(DEADLINE):
        while True:
            if await condition():
                return
            await asyncio.sleep(0.01)


async def listen(layer, topic=TOPIC):
    """Join a topic's group and return what gives the offsets of the next message."""
    channel = await layer.new_channel()
    await layer.group_add(groups.topic(topic), channel)
    await groups.send(layer, groups.topic(topic), groups.probe_message("joined"))
    async with asyncio.timeout(DEADLINE):
        await layer.receive(channel)

    async def heard():
        async with asyncio.timeout(DEADLINE):
            message = await layer.receive(channel)
        return [row[0] for row in message["entries"]]

    return heard


async def in_stream(redis, epoch, topic=TOPIC):
    return [int(ident.split(b"-")[0]) for ident, _ in await redis.xrange(history.stream(topic, epoch))]


async def relayed(database, topic=TOPIC):
    return await database.run(lambda: Topic.objects.get(name=topic).relayed)


async def test_entries_reach_stream_and_group_in_order_whatever_the_order_of_the_pushes(
    relaying, redis, layer, database
):
    heard = await listen(layer)
    first, second = await database.run(write_many, TOPIC, 2), await database.run(write_many, TOPIC, 2)
    relaying.push(second)
    relaying.push(first)
    await relaying.flush()
    assert await in_stream(redis, first[0].epoch) == [1, 2, 3, 4]
    assert await heard() == [1, 2, 3, 4]
    assert await relayed(database) == 4


async def test_a_frame_in_the_stream_says_when_it_was_relayed(relaying, redis, database):
    (entry,) = await database.run(write, draft())
    relaying.push([entry])
    await relaying.flush()
    ((_, row),) = await redis.xrange(history.stream(TOPIC, entry.epoch))
    at = msgspec.json.decode(row[b"d"])["at"]
    assert at["source"] <= at["recorded"] <= at["relayed"]


async def test_a_repeat_changes_nothing(relaying, redis, database):
    entries = await database.run(write_many, TOPIC, 3)
    for _ in range(2):
        relaying.push(entries)
        await relaying.flush()
    assert await in_stream(redis, entries[0].epoch) == [1, 2, 3]
    assert (await database.run(feed.heads, [TOPIC]))[TOPIC].epoch == entries[0].epoch


async def test_what_is_relayed_twice_is_counted_once(relaying, database):
    entries = await database.run(write_many, TOPIC, 3)
    before = REGISTRY.get_sample_value("fleetlight_relayed_total")
    for part in (entries[:2], entries, entries[1:]):
        relaying.push(part)
        await relaying.flush()
    assert REGISTRY.get_sample_value("fleetlight_relayed_total") - before == 3


async def test_what_the_stream_lacks_is_filled_in_from_the_table(relaying, redis, database):
    entries = await database.run(write_many, TOPIC, 5)
    relaying.push(entries[3:])
    await relaying.flush()
    assert await in_stream(redis, entries[0].epoch) == [1, 2, 3, 4, 5]


async def test_what_another_process_wrote_in_between_is_filled_in_and_its_own_relay_may_come_later(
    relaying, redis, layer, database
):
    mine, others, later = [await database.run(write_many, TOPIC, 2) for _ in range(3)]
    relaying.push([*mine, *later])
    await relaying.flush()
    assert await in_stream(redis, mine[0].epoch) == [1, 2, 3, 4, 5, 6]
    late = Relay(redis, layer, database)
    late.push(others)
    await late.flush()
    assert await in_stream(redis, mine[0].epoch) == [1, 2, 3, 4, 5, 6]
    assert (await database.run(feed.heads, [TOPIC]))[TOPIC].epoch == mine[0].epoch
    assert await relayed(database) == 6


async def test_a_stream_that_is_gone_is_filled_again(relaying, redis, database):
    entries = await database.run(write_many, TOPIC, 3)
    relaying.push(entries)
    await relaying.flush()
    await redis.flushall()
    relaying.push(await database.run(write_many, TOPIC, 1))
    await relaying.flush()
    assert await in_stream(redis, entries[0].epoch) == [1, 2, 3, 4]


async def test_a_stream_above_the_head_begins_a_new_life_of_the_topic(relaying, redis, database):
    """As after a restore: the stream has offsets that the table is about to give out a second time."""
    (entry,) = await database.run(write, draft())
    await redis.xadd(history.stream(TOPIC, entry.epoch), {"k": "k", "p": 2, "d": "{}"}, id="9-0")
    relaying.push([entry])
    await relaying.flush()
    head = (await database.run(feed.heads, [TOPIC]))[TOPIC]
    assert (head.epoch != entry.epoch, head.floor) == (True, 1)


@pytest.mark.parametrize("further", [0, 2])
async def test_an_offset_that_was_given_out_twice_begins_a_new_life_of_the_topic(relaying, redis, database, further):
    """As after a restore from just before: what the pages have by that offset is something else."""
    (entry,) = await database.run(write, draft())
    other = entry.body.replace(entry.key.encode(), b"other")
    assert other != entry.body
    await redis.xadd(history.stream(TOPIC, entry.epoch), {"k": "other", "p": 2, "d": other}, id="1-0")
    later = await database.run(write_many, TOPIC, further) if further else []
    relaying.push([entry, *later])
    await relaying.flush()
    assert (await database.run(feed.heads, [TOPIC]))[TOPIC].epoch != entry.epoch


async def test_an_entry_that_is_relayed_again_is_the_same_whenever_that_was(relaying, redis, database):
    entries = await database.run(write_many, TOPIC, 2)
    for again in (entries, entries[:1], entries):
        relaying.push(again)
        await relaying.flush()
    await redis.delete(history.stream(TOPIC, entries[0].epoch))
    await database.run(write_many, TOPIC, 1)
    relaying.push(entries)
    await relaying.flush()
    assert (await database.run(feed.heads, [TOPIC]))[TOPIC].epoch == entries[0].epoch
    assert await in_stream(redis, entries[0].epoch) == [1, 2]


async def test_an_older_run_of_a_topic_that_is_further_is_a_repeat_and_no_restore(relaying, redis, database):
    first, second = await database.run(write_many, TOPIC, 2), await database.run(write_many, TOPIC, 2)
    for entries in (second, first):
        relaying.push(entries)
        await relaying.flush()
    assert await in_stream(redis, first[0].epoch) == [1, 2, 3, 4]
    assert (await database.run(feed.heads, [TOPIC]))[TOPIC].epoch == first[0].epoch


async def test_what_another_process_left_is_swept(relaying, redis, layer, database, monkeypatch):
    monkeypatch.setattr(relay, "SWEEP_EVERY", 0.05)
    heard = await listen(layer)
    entries = await database.run(write_many, TOPIC, 3, 1)
    async with running(relaying):
        assert await heard() == [1, 2, 3]
        await until(lambda: _is(3, relayed(database)))
    assert await in_stream(redis, entries[0].epoch) == [1, 2, 3]


async def test_a_young_entry_is_left_to_its_own_process(relaying, redis, database, monkeypatch):
    monkeypatch.setattr(relay, "SWEEP_AGE", 3_600_000_000)
    (entry,) = await database.run(write, draft())
    await relaying._sweep()
    assert await in_stream(redis, entry.epoch) == []


async def test_entries_wait_in_the_table_while_valkey_is_away(valkey, redis, layer, database, monkeypatch):
    monkeypatch.setattr(relay, "SWEEP_EVERY", 0.05)
    monkeypatch.setattr(relay, "SWEEP_AGE", 0)
    relaying = Relay(redis, layer, database)
    async with running(relaying):
        valkey.kill()
        entries = await database.run(write_many, TOPIC, 3)
        relaying.push(entries)
        await until(lambda: _is(False, _value(relaying._reachable)))
        await asyncio.to_thread(valkey.start)
        await until(lambda: _is([1, 2, 3], in_stream(redis, entries[0].epoch)))
        await until(lambda: _is(3, relayed(database)))


async def test_what_retention_took_unrelayed_does_not_hold_up_what_follows(relaying, redis, database, monkeypatch):
    monkeypatch.setattr(relay, "SWEEP_AGE", 0)
    await database.run(write_many, TOPIC, 3, 1)
    await database.run(lambda: FeedEntry.objects.all().delete())
    await relaying._sweep()
    assert await relayed(database) == 3


async def test_a_revocation_does_not_hold_up_what_follows_it(relaying, redis, database, monkeypatch):
    monkeypatch.setattr(relay, "SWEEP_AGE", 0)
    entries = await database.run(write_many, TOPIC, 3, 1)
    await database.run(feed.revoke, [TOPIC])
    await database.run(write_many, TOPIC, 2, 1)
    await relaying._sweep()
    await relaying._sweep()
    assert await in_stream(redis, entries[0].epoch) == [4, 5]
    assert await relayed(database) == 5


async def test_a_mark_that_could_not_be_written_is_written_later(relaying, database, monkeypatch):
    relaying.push(await database.run(write_many, TOPIC, 2))

    def away(done):
        raise RuntimeError("the database is away")

    with monkeypatch.context() as patch:
        patch.setattr(feed, "mark_relayed", away)
        await relaying.flush()
    assert await relayed(database) == 0
    await relaying.flush()
    assert await relayed(database) == 2


async def _is(expected, actual):
    return await actual == expected


async def _value(value):
    return value
