"""Recent entries: from the stream where it has them all, else from the table."""

import pytest

from realtime import feed, history
from realtime.events import Entry
from realtime.models import FeedEntry
from realtime.relay import Relay
from tests.realtime.drafts import write_many

pytestmark = pytest.mark.feature("S4.12")
TOPIC = "user.1"


@pytest.fixture
def read(redis, database):
    async def since(epoch, after, upto):
        entries = await history.read_since(redis, database, TOPIC, epoch, after, upto)
        return [entry.offset for entry in entries]

    return since


@pytest.fixture
def written(redis, layer, database):
    async def write(count, relayed=True):
        entries = await database.run(write_many, TOPIC, count)
        if relayed:
            relay = Relay(redis, layer, database)
            relay.push(entries)
            await relay.flush()
        return entries[0].epoch

    return write


async def test_the_stream_gives_what_it_has_without_the_table(read, written, database):
    epoch = await written(5)
    await database.run(lambda: FeedEntry.objects.all().delete())
    assert await read(epoch, 2, 5) == [3, 4, 5]


async def test_a_hole_in_the_stream_is_filled_from_the_table(read, written, redis):
    epoch = await written(5)
    await redis.xdel(history.stream(TOPIC, epoch), "4-0")
    assert await read(epoch, 2, 5) == [3, 4, 5]


async def test_without_a_stream_the_table_gives_everything(read, written):
    assert await read(await written(3, relayed=False), 0, 3) == [1, 2, 3]


async def test_without_valkey_the_table_gives_everything(valkey, read, written):
    epoch = await written(3)
    valkey.kill()
    assert await read(epoch, 1, 3) == [2, 3]


async def test_nothing_is_read_for_a_cursor_that_has_it_all(read, written):
    assert await read(await written(3), 3, 3) == []


async def test_a_long_way_is_gone_in_parts(read, written, monkeypatch):
    monkeypatch.setattr(history, "READ_LIMIT", 4)
    epoch = await written(9)
    assert await read(epoch, 0, 9) == [1, 2, 3, 4]
    assert await read(epoch, 4, 9) == [5, 6, 7, 8]


async def test_what_neither_has_any_more_is_an_error_that_names_the_cause(read, written, redis, database):
    epoch = await written(3)
    await redis.flushall()
    await database.run(lambda: FeedEntry.objects.all().delete())
    with pytest.raises(feed.CursorLost, match="retention"):
        await read(epoch, 1, 3)


async def test_streams_hold_the_newest_entries_only(redis):
    """The length is a bound about which the server may round up, by a node of its stream."""
    append = redis.register_script(history.APPEND)
    for start in range(1, 4 * history.STREAM_LENGTH, 500):
        entries = [Entry(TOPIC, "e" * 16, offset, "k", 2, b"{}") for offset in range(start, start + 500)]
        key, *arguments = history.append_arguments(entries, refill=False)
        await append([key], arguments)
    assert history.STREAM_LENGTH <= await redis.xlen(key) < 2 * history.STREAM_LENGTH
    assert 0 < await redis.ttl(key) <= history.STREAM_SECONDS
