"""``manage.py publish``: publish events to a channel and print what became of each."""

from __future__ import annotations

import asyncio
from random import Random
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser

from realtime import config
from realtime.appsync.exceptions import BadRequest, ChannelError
from realtime.appsync.publishing import Outcome
from realtime.management import endpoint_options
from realtime.management.base import ExampleCommand
from realtime.upstream import http
from realtime.upstream.clock import Clock, SystemClock
from realtime.upstream.pace import Pace
from realtime.upstream.publish_http import HttpWay
from realtime.upstream.publish_socket import SocketWay
from realtime.upstream.publisher import Publisher, Way
from realtime.upstream.transport import WebSocketTransport, tls_context


class Command(ExampleCommand):
    help = "Publish JSON events to a channel, five a request and 25 requests a second, and print how each ended."
    examples = """\
  manage.py publish /default/news '{"a": 1}' --url http://127.0.0.1:4000/event --api-key da2-demo
  manage.py publish /default/news 1 2 3 --over ws --json"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("channel", metavar="CHANNEL")
        parser.add_argument("events", nargs="+", metavar="JSON", help="an event, as JSON text")
        parser.add_argument("--over", choices=("http", "ws"), default="http")
        endpoint_options.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            outcomes = asyncio.run(_publish(options))
        except (BadRequest, ChannelError) as error:
            raise CommandError(str(error), returncode=2) from None
        for index, outcome in enumerate(outcomes):
            self._print(index, outcome, options["json"])
        if any(outcome.status != "sent" for outcome in outcomes):
            raise CommandError("not every event was sent")

    def _print(self, index: int, outcome: Outcome, as_json: bool) -> None:
        row = {"index": index, "outcome": outcome.status, "code": outcome.code, "text": outcome.text}
        given = {name: value for name, value in row.items() if value != ""}
        self.stdout.write(msgspec.json.encode(given).decode() if as_json else f"event {index}: {outcome}")


async def _publish(options: dict[str, Any]) -> list[Outcome]:
    clock = SystemClock()
    pace = Pace(clock)
    publisher = Publisher(_way(options, pace, clock), pace, endpoint_options.credentials(options), clock, Random())
    try:
        return await publisher.publish(options["channel"], options["events"])
    finally:
        await publisher.close()


def _way(options: dict[str, Any], pace: Pace, clock: Clock) -> Way:
    endpoint = endpoint_options.endpoint(options)
    tls = tls_context(str(config.load().upstream.ca_file or ""))
    if options["over"] == "http":
        return HttpWay(endpoint, http.Client(tls), pace, clock)
    return SocketWay(endpoint, WebSocketTransport(tls), pace, clock)
