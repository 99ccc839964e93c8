"""``manage.py tail``: what a topic carries, as it passes, with the time each hop took."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import msgspec
from django.contrib.auth import get_user_model
from django.core.management.base import CommandError, CommandParser
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime import feed, history, valkey
from realtime.management import shown
from realtime.management.arguments import count
from realtime.management.base import ExampleCommand

HOPS = (("upstream", "source", "received"), ("record", "received", "recorded"), ("relay", "recorded", "relayed"))
"""A hop's name, and the two times between which it lies."""

BLOCK_MS = 1_000


class Command(ExampleCommand):
    help = (
        "Print the entries of a user's feed, or of another topic, as they are relayed; latencies in milliseconds. "
        "Topics are user.<id> and broadcast: an organisation has none, it is told of in its members' feeds."
    )
    examples = """\
  manage.py tail viewer
  manage.py tail --topic broadcast --count 5 --json"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", nargs="?", metavar="USER", help="a user's name or upstream subject")
        parser.add_argument("--topic", help="a topic's name, instead of a user")
        parser.add_argument("--count", type=count, help="stop after this many entries")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        topic = _topic(options["user"], options["topic"])
        head = feed.heads([topic]).get(topic)
        if head is None:
            raise CommandError(f"topic {topic!r} has carried nothing yet")
        try:
            asyncio.run(self._follow(history.stream(topic, head.epoch), head.head, options))
        except RedisError as error:
            raise CommandError(f"Valkey can't be read ({error}); is it running, and REDIS_URL right?") from None

    async def _follow(self, stream: str, after: int, options: dict[str, Any]) -> None:
        stopping = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopping.set)
        left = options["count"]
        async with valkey.connect() as redis:
            while not stopping.is_set() and left != 0:
                for offset, body in await _next(redis, stream, after, left):
                    after = offset
                    shown.row(self.stdout, _row(msgspec.json.decode(body)), as_json=options["json"])
                    left = None if left is None else left - 1


async def _next(redis: Redis, stream: str, after: int, limit: int | None) -> list[tuple[int, bytes]]:
    found: Any = await redis.xread({stream: f"{after}-0"}, count=limit, block=BLOCK_MS)
    rows = found[0][1] if isinstance(found, list) and found else next(iter(found.values()))[0] if found else []
    return [(int(ident.split(b"-")[0]), fields[b"d"]) for ident, fields in rows]


def _row(frame: dict[str, Any]) -> dict[str, Any]:
    at = frame["at"]
    hops = {
        f"{name}_ms": round((at[end] - at[start]) / 1000, 1) if at.get(start) and at.get(end) else None
        for name, start, end in HOPS
    }
    fields = {name: value[0] for name, value in frame["fields"].items()}
    return {
        "offset": frame["offset"],
        "recorded": shown.time(at["recorded"]),
        "event": frame["event"],
        "key": frame["key"],
        "gone": frame.get("gone"),
        "fields": fields,
        **hops,
    }


def _topic(user: str | None, topic: str | None) -> str:
    if bool(user) == bool(topic):
        raise CommandError("say whose feed: a user's name, or --topic NAME, and not both", returncode=2)
    return topic or _topic_of(user or "")


def _topic_of(name: str) -> str:
    users = get_user_model().objects
    user = users.filter(username=name).first() or users.filter(link__subject=name).first()
    if user is None:
        raise CommandError(f"there is no user {name!r}; an organisation has no feed of its own: name one of its people")
    return f"user.{user.pk}"
