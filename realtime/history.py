"""A topic's recent entries in Valkey: a fast copy of the table, so that a storm of reconnects spares the database.

A stream's name holds the topic's epoch, so a new or restored database never meets an old stream. An entry's id is its
offset. Whatever the stream can't give without a hole comes from the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import msgspec
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

# Takes entries in the order of their offsets, and with 1 as the first argument for granted that those before them are
# not to be had, so that the stream may begin with these. Answers {'ok', top} when they are in, {'refill', top} when the
# stream lacks what comes before them (it is gone, as after a restart of an empty Valkey, or has a hole), {'above', top}
# when it is ahead of the last of them, and {'other', top} when it tells something else at one of their offsets, but for
# the stamp of the relay. Whatever it answers, it wakes: each pair of further arguments is published.
APPEND = f"""
local function told(body)
  return (string.gsub(string.gsub(body, '}}}}$', ''), ',"relayed":%d+$', ''))
end
local function is_other(row)
  local id = string.format('%.0f', row[1])
  local kept = redis.call('XRANGE', KEYS[1], id, id)
  return #kept > 0 and told(kept[1][2][6]) ~= told(row[4])
end
local function append(rows)
  local top = 0
  local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
  if #last > 0 then top = tonumber(string.match(last[1][1], '^%d+')) end
  for _, row in ipairs(rows) do
    if row[1] > top then break end
    if is_other(row) then return {{'other', top}} end
  end
  if top > rows[#rows][1] then return {{'above', top}} end
  if top < rows[1][1] - 1 and ARGV[1] == '0' then return {{'refill', top}} end
  for _, row in ipairs(rows) do
    if row[1] > top then
      redis.call('XADD', KEYS[1], 'MAXLEN', '~', {STREAM_LENGTH}, string.format('%.0f-0', row[1]),
                 'k', row[2], 'p', row[3], 'd', row[4])
    end
  end
  redis.call('EXPIRE', KEYS[1], {STREAM_SECONDS})
  return {{'ok', top}}
end
local answer = append(cmsgpack.unpack(ARGV[2]))
for n = 3, #ARGV, 2 do redis.call('PUBLISH', ARGV[n], ARGV[n + 1]) end
return answer
"""

_pack = msgspec.msgpack.Encoder().encode


def stream(topic: str, epoch: str) -> str:
    """Return the name of a topic's stream."""
    return f"fl:feed:{topic}:{epoch}"


def append_arguments(entries: Sequence[Entry], wakes: Iterable[tuple[str, bytes]] = (), *, refill: bool) -> list[Any]:
    """Return the key and arguments of ``APPEND`` for entries of one topic, in the order of their offsets.

    They travel as one text, because each argument costs the client more than the server takes to unpack it. ``wakes``
    are the (channel, message) to publish; ``refill`` says that the entries before these are known not to be had.
    """
    rows = [(entry.offset, entry.key, entry.priority, entry.body.decode()) for entry in entries]
    return [stream(entries[0].topic, entries[0].epoch), int(refill), _pack(rows), *chain.from_iterable(wakes)]


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
