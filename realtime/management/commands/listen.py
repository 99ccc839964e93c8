"""``manage.py listen``: this project's own client on any Events API, printing everything that happens to it."""

from __future__ import annotations

import asyncio
import signal
from datetime import UTC, datetime
from random import Random
from typing import Any, get_args

import msgspec
from django.core.management.base import CommandError, CommandParser

from realtime import config
from realtime.appsync.channels import parse_pattern
from realtime.appsync.exceptions import ChannelError
from realtime.appsync.session import Carrier
from realtime.management import endpoint_options
from realtime.management.arguments import count, rate
from realtime.management.base import ExampleCommand
from realtime.upstream.clock import SystemClock
from realtime.upstream.connection import Connection
from realtime.upstream.manager import Manager
from realtime.upstream.model import Snapshot
from realtime.upstream.permits import LocalRate, Permits
from realtime.upstream.policy import PRESETS
from realtime.upstream.shards import Shards
from realtime.upstream.states import State
from realtime.upstream.subscriptions import Subscription
from realtime.upstream.transport import WebSocketTransport, tls_context

REFUSED = (State.WAITING, State.FAILED)
"""States that nothing changes while only this command runs."""


class Command(ExampleCommand):
    help = "Subscribe and print every state, subscription, event, error and gap, until stopped."
    examples = """\
  manage.py listen /default/news --url http://127.0.0.1:4000/event --api-key da2-demo
  manage.py listen '/vortex-app/user/sub-owner/*' --token "$JWT" --count 10 --json
  manage.py listen '/vortex-app/user/*' --auth iam --region eu-west-1
  manage.py listen --protocol graphql --url http://127.0.0.1:4000/graphql --token "$JWT" \\
      --query 'subscription S($o: ID!) { onDeviceState(orgId: $o) { deviceId online } }' --variables '{"o": "org-1"}'"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("channels", nargs="*", metavar="CHANNEL", help="a channel, or a pattern that ends in /*")
        parser.add_argument("--protocol", choices=("events", "graphql"), default="events")
        parser.add_argument(
            "--carrier", choices=get_args(Carrier), default="subprotocol", help="how the upgrade authorises"
        )
        parser.add_argument("--query", help="the subscription's document, for --protocol graphql")
        parser.add_argument("--variables", default="{}", metavar="JSON", help="its variables")
        endpoint_options.add_arguments(parser)
        parser.add_argument("--seconds", type=rate, help="stop after this long")
        parser.add_argument("--count", type=count, help="stop after this many events")
        parser.add_argument("--reconnect", choices=sorted(PRESETS), help="reconnect policy (UPSTREAM_RECONNECT)")

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = _documents(options) if options["protocol"] == "graphql" else _channels(options["channels"])
        listener = Listener(self, wanted, options)
        asyncio.run(listener.run())
        if listener.refused:
            raise CommandError(listener.refused)

    def line(self, kind: str, as_json: bool, **values: Any) -> None:
        """Print one thing that happened, and flush it."""
        now = datetime.now(UTC)
        if as_json:
            text = msgspec.json.encode({"time": now, "type": kind, **values}).decode()
        else:
            shown = "  ".join(f"{name}={value}" for name, value in values.items() if value not in ("", None))
            text = f"{now:%H:%M:%S.%f}  {kind:<12}  {shown}"
        self.stdout.write(text)
        self.stdout.flush()


def _channels(names: list[str]) -> dict[str, str]:
    if not names:
        raise CommandError("say which CHANNEL to listen to", returncode=2)
    try:
        return {parse_pattern(name): parse_pattern(name) for name in names}
    except ChannelError as error:
        raise CommandError(str(error), returncode=2) from None


def _documents(options: dict[str, Any]) -> dict[str, str]:
    """Return the one subscription that a GraphQL listener has, by its document's first word after the keyword."""
    if not options["query"] or options["channels"]:
        text = "GraphQL has no channels: give --query 'subscription …', and --variables if it has any"
        raise CommandError(text, returncode=2)
    try:
        variables = msgspec.json.decode(options["variables"], type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise CommandError(f"--variables is not a JSON object: {error}", returncode=2) from None
    data = msgspec.json.encode({"query": options["query"], "variables": variables}).decode()
    return {"subscription": data}


class Listener:
    """One run of the command; also the connection's inlet."""

    def __init__(self, command: Command, wanted: dict[str, str], options: dict[str, Any]) -> None:
        self._command = command
        self._json = bool(options["json"])
        self._count = options["count"]
        self._seconds = options["seconds"]
        self._done = asyncio.Event()
        self._received = 0
        self._lost_at: datetime | None = None
        self._was_open = False
        self.refused = ""
        clock, rng = SystemClock(), Random()
        policy = endpoint_options.policy(options["reconnect"])
        self._connection = Connection(
            endpoint_options.endpoint(options),
            endpoint_options.credentials(options),
            WebSocketTransport(tls_context(str(config.load().upstream.ca_file or "")), policy.ping_every),
            Shards(wanted, rng),
            self,
            clock,
            Permits(LocalRate(clock), clock),
            options["carrier"],
        )
        self._manager = Manager(self._connection, policy, clock, rng, "listen")
        self._manager.listen(self._changed)

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._done.set)
        self._manager.start()
        try:
            async with asyncio.timeout(self._seconds):
                await self._done.wait()
        except TimeoutError:
            pass
        await self._manager.stop("stopped by the command")

    # ── connection.Inlet ─────────────────────────────────────────────────────────────────────────────────────

    def data(self, feed: str, payload: str) -> None:
        self._received += 1
        self._line("data", channel=feed, event=payload)
        if self._count is not None and self._received >= self._count:
            self._done.set()

    def not_taken(self, feed: str, payload: str, fault: Exception) -> None:
        self._line("error", text=f"can't print an event of {feed}: {fault}")

    def subscription(self, subscription: Subscription) -> None:
        self._line(
            "subscription",
            channel=subscription.feed,
            state=subscription.status,
            error=subscription.error,
        )
        if subscription.status == "live" and self._lost_at is not None:
            self._line("gap", channel=subscription.feed, since=self._lost_at.isoformat())

    def trouble(self, text: str, lossy: bool) -> None:
        self._line("error", text=text)

    async def room(self) -> None:
        """Printing is as fast as whoever reads it: there is nothing to wait for."""

    # ── The manager ──────────────────────────────────────────────────────────────────────────────────────────

    def _changed(self, snapshot: Snapshot) -> None:
        is_open = snapshot.state is State.OPEN
        if self._was_open and not is_open:
            self._lost_at = datetime.now(UTC)
        elif is_open:
            self._lost_at = None
        self._was_open = is_open
        self._line("state", state=snapshot.state.value, reason=snapshot.reason, attempt=snapshot.attempt)
        if snapshot.state in REFUSED:
            self.refused = f"the link is {snapshot.state.value}: {snapshot.reason}"
            self._done.set()

    def _line(self, kind: str, **values: Any) -> None:
        self._command.line(kind, self._json, **values)
