"""A topic's recent entries in Valkey: a fast copy of the table, so that a storm of reconnects spares the database.

A stream's name holds the topic's epoch, so a new or restored database never meets an old stream. An entry's id is its
offset. Whatever the stream can't give without a hole comes from the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime import feed
from realtime.database import DatabaseThread
from realtime.events import Entry

STREAM_LENGTH = 1_000
"""Entries kept in a stream. Older ones come from the table."""

STREAM_SECONDS = 86_400
"""A stream that nobody appended to for this long goes: its topic is read from the table."""

READ_LIMIT = 1_000
"""Entries read at once for one cursor; a reader that is further behind asks again from where it got."""

# Answers {'ok', top} when the entries are in, {'refill', top} when the stream lacks what comes before them (it is
# gone, as after a restart of an empty Valkey, or has a hole), {'above', top} when it is ahead of the database.
APPEND = """
local first, head = tonumber(ARGV[3]), tonumber(ARGV[4])
local top = 0
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if #last > 0 then top = tonumber(string.match(last[1][1], '^%d+')) end
if top > head then return {'above', top} end
if top < first - 1 and ARGV[5] == '0' then return {'refill', top} end
for i = 6, #ARGV, 4 do
  if tonumber(ARGV[i]) > top then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], ARGV[i] .. '-0',
               'k', ARGV[i + 1], 'p', ARGV[i + 2], 'd', ARGV[i + 3])
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return {'ok', top}
"""


def stream(topic: str, epoch: str) -> str:
    """Return the name of a topic's stream."""
    return f"fl:feed:{topic}:{epoch}"


def append_arguments(entries: Sequence[Entry], *, head: int, refill: bool) -> tuple[str, list[Any]]:
    """Return the key and arguments of ``APPEND`` for entries of one topic, in the order of their offsets.

    ``head`` is the topic's head as the database has it; ``refill`` says that the entries before these are known not
    to be had, so that a stream may begin with them.
    """
    first = entries[0]
    arguments: list[Any] = [STREAM_LENGTH, STREAM_SECONDS, first.offset, head, int(refill)]
    for entry in entries:
        arguments += (entry.offset, entry.key, entry.priority, entry.body)
    return stream(first.topic, first.epoch), arguments


async def read_since(
    redis: Redis, database: DatabaseThread, topic: str, epoch: str, after: int, upto: int
) -> list[Entry]:
    """Return the entries with offsets in ``after < offset <= upto``, in order and without a hole.

    At most ``READ_LIMIT`` of them: a shorter list ends where the next call goes on. Raises feed.CursorLost when the
    table no longer has them, and a database error when it can't be asked.
    """
    upto = min(upto, after + READ_LIMIT)
    if upto <= after:
        return []
    entries = await _from_stream(redis, topic, epoch, after, upto)
    if len(entries) == upto - after:
        return entries
    return await database.run(feed.read, topic, epoch, after, upto - after)


async def _from_stream(redis: Redis, topic: str, epoch: str, after: int, upto: int) -> list[Entry]:
    """Return what the stream has; ids are unique and rising, so a full count is a range without a hole."""
    try:
        found: Any = await redis.xrange(stream(topic, epoch), f"{after + 1}-0", f"{upto}-0")
    except (RedisError, OSError):
        return []
    return [
        Entry(topic, epoch, int(ident.split(b"-")[0]), row[b"k"].decode(), int(row[b"p"]), row[b"d"])
        for ident, row in found
    ]
