"""A link as a whole, from manager to socket, with everything outside replaced: time, sockets, tokens, the inlet."""

from random import Random

from realtime.appsync.endpoint import derive
from realtime.upstream.connection import Connection
from realtime.upstream.manager import Manager
from realtime.upstream.permits import LocalRate, Permits
from realtime.upstream.policy import Fixed, Policy
from realtime.upstream.shards import CAPACITY, Shards
from tests.fakes import FakeCredentials, ManualClock, RecordingInlet, ScriptedTransport, settle
from tests.realtime.emulator.client import eventually
from tests.wire import EVENTS

FEEDS = ("presence", "archive", "role")


class Link:
    """One link with its fakes. It backs off for five seconds, each time, unless a policy is given.

    ``capacity`` is how many subscriptions it puts on a connection.
    """

    def __init__(
        self,
        transport=None,
        credentials=None,
        policy=None,
        feeds=FEEDS,
        wire=EVENTS,
        host="localhost:4000",
        capacity=CAPACITY,
        permits=None,
        clock=None,
    ):
        self.wire = wire
        self.clock = clock or ManualClock()
        self.transport = transport or ScriptedTransport()
        self.credentials = credentials or FakeCredentials()
        self.inlet = RecordingInlet()
        self.targets = wire.targets(*feeds)
        self.connection = Connection(
            derive(f"http://{host}", dialect=wire.dialect),
            self.credentials,
            self.transport,
            Shards(self.targets, Random(1), capacity),
            self.inlet,
            self.clock,
            permits or Permits(LocalRate(self.clock), self.clock),
        )
        policy = policy or Policy(backoff=Fixed(5.0), breaker=None)
        self.manager = Manager(self.connection, policy, self.clock, Random(1), "sub-1")

    @property
    def subscriptions(self):
        return self.connection.subscriptions

    @property
    def service(self):
        return self.transport.service

    @property
    def state(self):
        return self.manager.snapshot.state

    @property
    def reason(self):
        return self.manager.snapshot.reason

    @property
    def socket(self):
        """The newest fake socket."""
        return self.transport.socket

    def statuses(self):
        return {subscription.feed: subscription.status for subscription in self.subscriptions}

    def ident(self, feed):
        return next(s.ident for s in self.subscriptions if s.feed == feed)

    def error(self, feed):
        return next(s.error for s in self.subscriptions if s.feed == feed)

    def want(self, *feeds):
        self.targets = self.wire.targets(*feeds)
        return self.connection.want(self.targets)

    def asked(self):
        """What was subscribed to on the newest socket, in order."""
        return [self.wire.target(frame) for frame in self.socket.sent_of(self.wire.subscribes)]

    def tokens(self):
        """The tokens that those subscriptions carried."""
        frames = self.socket.sent_of(self.wire.subscribes)
        return [self.wire.authorization(frame)["Authorization"] for frame in frames]

    async def start(self):
        self.manager.start()
        await settle()

    async def wait_for_its_turn(self):
        """Let the time pass until the next try, which is not awaited."""
        await self.clock.advance(self.manager.snapshot.next_try_at - self.clock.monotonic())

    async def comes_to(self, state):
        """Wait until the link is in this state, where its sockets are real and take their time."""
        await eventually(lambda: self.state is state)

    async def deliver(self, feed, *payloads):
        for payload in payloads:
            self.socket.arrive(self.wire.data(self.ident(feed), payload))
        await settle()

    async def refuse(self, feed, kind="UnauthorizedException"):
        """Let the service end one subscription with an error."""
        self.socket.arrive(self.wire.error(kind, self.ident(feed)))
        await settle()
