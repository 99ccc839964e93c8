"""``manage.py publish``: publish events to a channel and print what became of each."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser

from realtime import config
from realtime.appsync import messages
from realtime.appsync.auth import Request, without_host
from realtime.appsync.channels import parse_channel
from realtime.appsync.events_session import MAX_EVENT_BYTES, MAX_EVENTS, EventsSession
from realtime.appsync.exceptions import ChannelError
from realtime.appsync.session import Accepted, Published, Rejected
from realtime.management import endpoint_options
from realtime.management.base import ExampleCommand
from realtime.upstream import http
from realtime.upstream.clock import SystemClock
from realtime.upstream.transport import Socket, TransportError, WebSocketTransport, tls_context

Outcome = tuple[int, str]


class Command(ExampleCommand):
    help = "Publish JSON events to a channel, five at a time, and print the outcome of each."
    examples = """\
  manage.py publish /default/news '{"a": 1}' --url http://127.0.0.1:4000/event --api-key da2-demo
  manage.py publish /default/news 1 2 3 --over ws --json"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("channel", metavar="CHANNEL")
        parser.add_argument("events", nargs="+", metavar="JSON", help="an event, as JSON text")
        parser.add_argument("--over", choices=("http", "ws"), default="http")
        endpoint_options.add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        events = options["events"]
        _check(options["channel"], events)
        over = _over_http if options["over"] == "http" else _over_websocket
        outcomes = []
        for start in range(0, len(events), MAX_EVENTS):
            part = events[start : start + MAX_EVENTS]
            answers = asyncio.run(over(options, part))
            outcomes += [(start + index, outcome) for index, outcome in answers]
        for index, outcome in outcomes:
            self._print(index, outcome, options["json"])
        if any(outcome != "sent" for _, outcome in outcomes):
            raise CommandError("not every event was sent")

    def _print(self, index: int, outcome: str, as_json: bool) -> None:
        row = {"index": index, "outcome": outcome}
        self.stdout.write(msgspec.json.encode(row).decode() if as_json else f"event {index}: {outcome}")


def _check(channel: str, events: list[str]) -> None:
    try:
        parse_channel(channel)
    except ChannelError as error:
        raise CommandError(str(error)) from None
    for number, event in enumerate(events):
        try:
            msgspec.json.decode(event)
        except msgspec.DecodeError as error:
            raise CommandError(f"event {number} is not JSON: {error}; quote a bare string as '\"text\"'") from None
        if len(event.encode()) > MAX_EVENT_BYTES:
            raise CommandError(f"event {number} has more than {MAX_EVENT_BYTES} bytes, the most that AppSync takes")


async def _over_http(options: dict[str, Any], events: list[str]) -> list[Outcome]:
    endpoint = endpoint_options.endpoint(options)
    body = messages.publish_body(parse_channel(options["channel"]), events)
    authorization = await endpoint_options.authorization(options)
    headers = without_host(authorization.headers(Request(endpoint.host, messages.PATH, body)))
    try:
        answer = await http.publish(endpoint.http_url, headers, body)
    except http.HttpError as error:
        raise CommandError(f"{endpoint.http_url}: {error}") from None
    failed = {int(item.get("index", -1)): str(item.get("message", "failed")) for item in answer.get("failed", [])}
    return [(index, f"failed: {failed[index]}" if index in failed else "sent") for index in range(len(events))]


async def _over_websocket(options: dict[str, Any], events: list[str]) -> list[Outcome]:
    endpoint, clock = endpoint_options.endpoint(options), SystemClock()
    authorization = await endpoint_options.authorization(options)
    session = EventsSession(endpoint)
    transport = WebSocketTransport(tls_context(str(config.load().upstream.ca_file or "")))
    try:
        async with asyncio.timeout(15):
            socket = await transport.open(session.opening(authorization))
            try:
                published = await _publish(session, socket, options["channel"], events, authorization, clock)
            finally:
                await socket.close()
    except (TransportError, TimeoutError) as error:
        raise CommandError(f"{endpoint.realtime_url}: {error or 'no answer'}; the outcome is unknown") from None
    if published.error is not None:
        return [(index, f"{published.outcome}: {published.error}") for index in range(len(events))]
    failed = dict(published.failed)
    return [(index, f"failed: {failed[index]}" if index in failed else "sent") for index in range(len(events))]


async def _publish(
    session: EventsSession, socket: Socket, channel: str, events: list[str], authorization: Any, clock: SystemClock
) -> Published:
    session.opened()
    for text in session.data_to_send():
        await socket.send(text)
    async for frame in socket:
        session.receive(frame, clock.monotonic())
        for event in session.events_received():
            if isinstance(event, Accepted):
                session.publish(channel, events, authorization, clock.monotonic())
            elif isinstance(event, Rejected):
                raise CommandError(f"the service refuses the connection: {event.error}")
            elif isinstance(event, Published):
                return event
        for text in session.data_to_send():
            await socket.send(text)
    raise TransportError("connection lost")
