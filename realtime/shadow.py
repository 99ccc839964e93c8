"""The dual run: beside a link that is recorded, the same link in the other dialect, heard only to be compared.

A shadow has a connection and a manager of its own, speaks with the same credentials, and is up while its link is. It
records nothing, opens no gap and has no place in the public state. Its worker ends it before it gives up the link.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Protocol

from django.db import DatabaseError

from realtime import documents, dualrun, feeds
from realtime.appsync.endpoint import Dialect, Endpoint
from realtime.appsync.exceptions import BadEndpoint
from realtime.clock import now_us
from realtime.comparing import EVERYWHERE, OTHER, Comparer, Heard, Results, Scope
from realtime.config import UpstreamConfig
from realtime.database import DatabaseThread
from realtime.decoding import Undecodable
from realtime.dualrun import Findings, Wish
from realtime.keeper import Keeper
from realtime.parts import Parts
from realtime.product import Recorder
from realtime.upstream import endpoints
from realtime.upstream.clock import Clock, monotonic_at
from realtime.upstream.connection import Connection
from realtime.upstream.manager import Manager
from realtime.upstream.shards import Shards
from realtime.upstream.states import State
from realtime.upstream.subscriptions import Subscription

logger = logging.getLogger("realtime.shadow")

NOTE_EVERY = 2.0
"""Seconds between two notes of what a shadow has found, while that changes."""

ORGANIZATIONS_EVERY = 5.0
"""Seconds between two looks at which organisations a GraphQL shadow has to listen to."""

NOTED_WITHIN = 5.0
"""Seconds that an end waits for its last note: the database may be away, and the link must not wait for it."""

RESTING = frozenset({State.STOPPED, State.WAITING, State.SUSPENDED, State.FAILED})
"""States of the recorded link in which its shadow rests too: nobody wants it, or it has no credentials."""

Visible = Callable[[int, Collection[str]], Awaitable[set[str]]]
"""Which of these entities a user may see, as far as is recorded."""


class Line(Protocol):
    """Where one side listens; a session that takes over has subscriptions of its own."""

    @property
    def subscriptions(self) -> Shards:
        """What is listened to now, and how far each of it is."""


class Ear:
    """One side of a comparison: hands on what its dialect tells, and when it listens.

    It is the recorded keeper's Tap, and the Inlet of the shadow's connection.
    """

    manager: Manager
    line: Line

    def __init__(self, dialect: Dialect, comparer: Comparer, clock: Clock) -> None:
        self.dialect = dialect
        self._comparer = comparer
        self._clock = clock

    def data(self, feed: str, payload: str) -> None:
        at, received = self._clock.monotonic(), now_us()
        try:
            facts = documents.facts(self.dialect, feed, payload)
        except Undecodable as error:
            self._comparer.unreadable(self.dialect, feed, str(error)[:200], received)
            return
        for fact in facts:
            self._comparer.take(self.dialect, fact, at, received)

    def not_taken(self, feed: str, payload: str, fault: Exception) -> None:
        self._comparer.unreadable(self.dialect, feed, repr(fault)[:200], now_us())

    def changed(self) -> None:
        """Tell the comparer what is listened to from now on."""
        self._comparer.listening(self.dialect, self._scopes(), through=self.heard_at)

    def subscription(self, subscription: Subscription) -> None:
        self.changed()

    def trouble(self, text: str, lossy: bool) -> None:
        logger.info("%s: %s", self.dialect, text)

    async def room(self) -> None:
        """There is always room: what waits to be compared is bounded."""

    @property
    def heard_at(self) -> float:
        """When the last frame came, in monotonic seconds."""
        heard = self.manager.heard_at
        return 0.0 if heard is None else monotonic_at(self._clock, heard)

    def state(self) -> dict[str, Any]:
        """Return how this side is, as a report shows it."""
        snapshot = self.manager.snapshot
        is_open = snapshot.state is State.OPEN
        deaf = [s.feed for s in self.line.subscriptions if s.status != "live"]
        reason = f"not live: {', '.join(deaf)}" if is_open and deaf else snapshot.reason
        return {"state": snapshot.state.value, "reason": reason[:200], "live": is_open and not deaf}

    def _scopes(self) -> dict[Scope, float]:
        """Return what is listened to, and since when."""
        if self.manager.snapshot.state is not State.OPEN:
            return {}
        live = {s.feed: s.live_since for s in self.line.subscriptions if s.live_since is not None}
        if self.dialect == "events":
            return {(feed, EVERYWHERE): since for feed, since in live.items()}
        scopes = {scope: since for name, since in live.items() for scope in documents.told_by(name)}
        # A revoked token is its user's, whichever organisation's subscription tells of it.
        return scopes | {(feed, EVERYWHERE): since for (feed, _), since in scopes.items() if feed == "tokenRevoked"}


class Shadow:
    """One link's shadow. Call ``follow`` every now and then, and ``end`` once."""

    def __init__(
        self, keeper: Keeper, endpoint: Endpoint, parts: Parts, wish: Wish, results: Results, visible: Visible
    ) -> None:
        """``endpoint`` is of the dialect that ``parts`` does not speak; ``results`` are those to go on with."""
        self.keeper = keeper
        self.wish = wish
        self._parts = parts
        self._visible = visible
        self._comparer = Comparer(wish.window, results)
        wide = endpoint.dialect == "graphql"
        subscriptions = Shards({} if wide else feeds.channels(parts.root, keeper.subject), parts.rng)
        self._heard = Ear(endpoint.dialect, self._comparer, parts.clock)
        self._connection = Connection(
            endpoint, keeper.credentials, parts.transport, subscriptions, self._heard, parts.clock, parts.permits
        )
        self._heard.line = self._connection
        self._manager = Manager(self._connection, parts.policy, parts.clock, parts.rng, keeper.subject)
        self._heard.manager = self._manager
        self._manager.listen(lambda _: self._heard.changed())
        self._recorded = Ear(parts.endpoint.dialect, self._comparer, parts.clock)
        self._recorded.line = keeper
        self._recorded.manager = keeper.manager
        self._recorded.changed()
        keeper.tap = self._recorded
        self._unmatched: list[Heard] = []
        self._session = 0
        self._organizations_at = float("-inf")
        self._noted_at = float("-inf")
        self._noted: tuple[object, ...] = ()

    async def follow(self) -> None:
        """Do what is due: be up or rest as the link does, judge what is over, note it. Raises DatabaseError."""
        await self._follow_organizations()
        self._follow_link()
        await self._judge()
        if self._parts.clock.monotonic() - self._noted_at >= NOTE_EVERY:
            self._note()

    @property
    def manager(self) -> Manager:
        """What keeps its connection alive."""
        return self._manager

    async def end(self, reason: str) -> None:
        """Stop hearing along, and note what was found."""
        self.keeper.tap = None
        await self._manager.stop(reason)
        self._comparer.abandon(self._unmatched)
        if (noted := self._note()) is not None:
            await asyncio.wait([noted], timeout=NOTED_WITHIN)

    async def _follow_organizations(self) -> None:
        """Listen to the organisation that the user looks at now, as a keeper that speaks GraphQL does."""
        now = self._parts.clock.monotonic()
        if self._heard.dialect == "graphql" and now - self._organizations_at >= ORGANIZATIONS_EVERY:
            org_ids = await self._parts.organizations(self.keeper.user_id)
            self._organizations_at = now
            if self._connection.want(documents.subscriptions(org_ids)):
                self._heard.changed()

    def _follow_link(self) -> None:
        link, own = self.keeper.manager.snapshot, self._manager.snapshot
        renewed, self._session = link.session != self._session, link.session
        if link.state in RESTING:
            self._manager.suspend(f"the recorded link is {link.state.value}")
        elif own.state is State.STOPPED:
            self._manager.start()
        elif own.state is State.SUSPENDED:
            self._manager.resume()
        elif renewed and own.state is State.WAITING:
            # The link has begun anew, perhaps with new credentials: what this side was refused for may be over.
            self._manager.auth_changed(self.keeper.subject)

    async def _judge(self) -> None:
        through = {ear.dialect: ear.heard_at for ear in (self._recorded, self._heard)}
        self._unmatched += self._comparer.expire(self._parts.clock.monotonic(), through)
        wide = {heard.fact.key for heard in self._unmatched if heard.side == "graphql"}
        visible = await self._visible(self.keeper.user_id, wide) if wide else set()
        for heard in self._unmatched:
            self._comparer.judge(heard, in_view=heard.side == "events" or heard.fact.key in visible)
        self._unmatched.clear()

    def _note(self) -> asyncio.Future[None] | None:
        """Note what was found, if any of it is news."""
        self._noted_at = self._parts.clock.monotonic()
        sides: dict[Dialect, dict[str, Any]] = {ear.dialect: ear.state() for ear in (self._recorded, self._heard)}
        news = self._comparer.changes, sides
        if news == self._noted:
            return None
        self._noted = news
        return self._parts.bridge.note(
            Findings(
                self.keeper.link_id,
                self.wish.since,
                self._recorded.dialect,
                sides,
                dualrun.stored(self._comparer.results),
            )
        )


class Shadows:
    """All shadows of a worker, by link id."""

    def __init__(self, database: DatabaseThread, recorder: Recorder) -> None:
        self._database = database
        self._recorder = recorder
        self._shadows: dict[int, Shadow] = {}
        self._complained: set[Wish] = set()

    async def follow(self, keepers: Mapping[int, Keeper], parts: Parts, upstream: UpstreamConfig) -> None:
        """Have a shadow for each of these links whose dual run is wanted, and for no other."""
        try:
            wishes = await self._database.run(dualrun.wanted)
            over = [
                pk for pk, s in self._shadows.items() if wishes.get(pk) != s.wish or keepers.get(pk) is not s.keeper
            ]
            await self.end(over, "the dual run is over")
            for link_id in wishes.keys() & keepers.keys() - self._shadows.keys():
                await self._begin(keepers[link_id], parts, upstream, wishes[link_id])
            for shadow in self._shadows.values():
                await shadow.follow()
        except DatabaseError as error:
            logger.warning("dual runs can't be followed: %s", error)

    async def end(self, link_ids: Iterable[int], reason: str) -> None:
        """End the shadows of these links, if they have any. Call it before the links are given up."""
        ending = [shadow for link_id in link_ids if (shadow := self._shadows.pop(link_id, None)) is not None]
        await asyncio.gather(*(shadow.end(reason) for shadow in ending))

    @property
    def managers(self) -> list[Manager]:
        """Those of all shadows: what happens to the machine is told to them too."""
        return [shadow.manager for shadow in self._shadows.values()]

    async def _begin(self, keeper: Keeper, parts: Parts, upstream: UpstreamConfig, wish: Wish) -> None:
        other = OTHER[parts.endpoint.dialect]
        try:
            endpoint = endpoints.configured(replace(upstream, protocol=other))
        except BadEndpoint as error:
            await self._complain(parts, wish, other, str(error))
            return
        results = await self._database.run(dualrun.found, wish)
        self._shadows[wish.link_id] = Shadow(keeper, endpoint, parts, wish, results, self._visible)

    async def _complain(self, parts: Parts, wish: Wish, side: Dialect, text: str) -> None:
        """Say once, in the log and in the report, why there is no shadow."""
        if wish in self._complained:
            return
        self._complained.add(wish)
        logger.error("no dual run of link %d: %s", wish.link_id, text)
        results = dualrun.stored(await self._database.run(dualrun.found, wish))
        sides: dict[Dialect, dict[str, Any]] = {side: {"state": State.FAILED.value, "reason": text, "live": False}}
        parts.bridge.note(Findings(wish.link_id, wish.since, parts.endpoint.dialect, sides, results))

    async def _visible(self, user_id: int, keys: Collection[str]) -> set[str]:
        return await self._database.run(self._recorder.visible, user_id, keys)
