"""The upstream, tried once: each step is a finding, and the first that fails is the last.

A session of the own is opened beside the links'. What it publishes goes to a channel that nobody else hears.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeVar

from realtime.appsync.auth import Authorization
from realtime.appsync.endpoint import Dialect, Endpoint
from realtime.appsync.events_session import EventsSession
from realtime.appsync.exceptions import AppSyncError, AuthRejected, ChannelError
from realtime.appsync.session import Accepted, Data, Published, Rejected, Session, SessionEvent, SubscriptionChanged
from realtime.appsync.states import SubscriptionState
from realtime.doctor import PATIENCE, Finding, Verdict
from realtime.upstream.connection import SESSIONS
from realtime.upstream.failures import UNAUTHORIZED
from realtime.upstream.transport import Socket, Transport, TransportError

E = TypeVar("E", bound=SessionEvent)

PAYLOAD = '{"eventType":"doctor"}'

REMEDIES = {
    "connect": "check the address, and whether a firewall or a proxy on the way lets WebSockets pass",
    "auth": "check the key or sign in again; APPSYNC_TOKEN_USE says which of a user's tokens is sent",
    "round trip": "look at the handlers of the channel's namespace, and at the API's own log",
}
CREDENTIALS = "check APPSYNC_AUTH and the credentials; the host in them must be the API's HTTP host"
SUBSCRIBING: dict[Dialect, str] = {
    "events": "check APPSYNC_CHANNEL_ROOT, that its namespace exists, and what its authorizer compares",
    "graphql": "check that the API's schema has this subscription, and what its authorizer compares",
}


@dataclass(frozen=True, slots=True)
class Part:
    """What is tried, and as whom.

    ``name`` is what people call ``target``, which is a channel or a document; without one nothing is subscribed to.
    ``channel`` is the own one. A subscription that is called live is so ``settle`` seconds later.
    """

    authorization: Authorization
    name: str
    target: str | None
    channel: str
    settle: float


async def rehearse(endpoint: Endpoint, transport: Transport, part: Part) -> list[Finding]:
    """Connect, be accepted, subscribe, publish and hear that: return what came of each."""
    rehearsal = _Rehearsal(endpoint, part)
    try:
        async with asyncio.timeout(PATIENCE + part.settle):
            await rehearsal.run(transport)
    except TransportError as error:
        rehearsal.found("failed", str(error), CREDENTIALS if error.status in UNAUTHORIZED else "")
    except TimeoutError:
        rehearsal.found("failed", f"no answer within {PATIENCE:g} s")
    except ChannelError as error:
        rehearsal.found("failed", str(error))
    return rehearsal.findings


class _Rehearsal:
    """One session, from its socket on. ``step`` is what is being tried."""

    def __init__(self, endpoint: Endpoint, part: Part) -> None:
        self._dialect = endpoint.dialect
        self._session = SESSIONS[endpoint.dialect](endpoint)
        self._part = part
        self._step = "connect"
        self.findings: list[Finding] = []

    def found(self, verdict: Verdict, seen: str, remedy: str = "") -> None:
        """Note what came of the step; what failed has the step's remedy unless there is a better one."""
        if verdict == "failed":
            remedy = remedy or REMEDIES.get(self._step, SUBSCRIBING[self._dialect])
        self.findings.append(Finding(self._step, verdict, seen, remedy))

    async def run(self, transport: Transport) -> None:
        socket = await transport.open(self._session.opening(self._part.authorization))
        self.found("ok", f"the socket is open and speaks {self._session.subprotocol}")
        try:
            self._events = _events(self._session, socket)
            if await self._is_accepted() and await self._is_subscribed():
                await self._try_round_trip()
        finally:
            await socket.close()

    async def _is_accepted(self) -> bool:
        self._step = "auth"
        answer: Accepted | Rejected = await self._next(Accepted, Rejected)
        if isinstance(answer, Rejected):
            self.found("failed", str(answer.error))
            return False
        self.found("ok", f"accepted; silence may last {answer.timeout:.0f} s")
        return True

    async def _is_subscribed(self) -> bool:
        self._step = "subscribe"
        if self._part.target is None:
            self.found("skipped", f"there is no {self._part.name}")
            return False
        answer = await self._subscribe(self._part.target)
        if answer.state is not SubscriptionState.LIVE:
            self.found("failed", f"{self._part.name}: {answer.error}")
            return False
        self.found("ok", f"{self._part.name} is live")
        return True

    async def _try_round_trip(self) -> None:
        self._step = "round trip"
        session, channel = self._session, self._part.channel
        if not isinstance(session, EventsSession):
            self.found("skipped", "GraphQL tells of mutations alone, and those are the backend's")
            return
        answer = await self._subscribe(channel)
        if answer.state is not SubscriptionState.LIVE:
            self._refused(f"subscribing to {channel}: {answer.error}", answer.error)
            return
        await asyncio.sleep(self._part.settle)
        began = time.monotonic()
        session.publish(channel, [PAYLOAD], self._part.authorization, began)
        while True:
            event = await self._next(Data, Published)
            if isinstance(event, Data) and event.ident == answer.ident:
                self.found("ok", f"what was published came back in {(time.monotonic() - began) * 1000:.0f} ms")
                return
            if isinstance(event, Published) and event.outcomes[0].status != "sent":
                self._refused(f"publishing to {channel}: {event.outcomes[0]}", event.error)
                return

    def _refused(self, seen: str, error: AppSyncError | None) -> None:
        """Note a refusal: that these credentials may only listen to what is theirs is nothing bad."""
        self.found("skipped" if isinstance(error, AuthRejected) else "failed", seen)

    async def _subscribe(self, target: str) -> SubscriptionChanged:
        ident = self._session.subscribe(target, self._part.authorization, time.monotonic())
        while (answer := await self._next(SubscriptionChanged)).ident != ident:
            pass
        return answer

    async def _next(self, *kinds: type[E]) -> E:
        """Return the next event of these kinds."""
        while not isinstance(event := await anext(self._events), kinds):
            pass
        return event


async def _events(session: Session, socket: Socket) -> AsyncIterator[SessionEvent]:
    """Give what happens. Whatever the session has to send is sent before the next frame is waited for."""
    session.opened()
    await _send(session, socket)
    async for text in socket:
        session.receive(text, time.monotonic())
        for event in session.events_received():
            yield event
        await _send(session, socket)


async def _send(session: Session, socket: Socket) -> None:
    for text in session.data_to_send():
        await socket.send(text)
