"""A worker: opens, suspends and resumes links as people come and go, and records what they bring.

Several times a second it looks at which links are its own (`leases`), and at what is wanted of them: who is present
(Valkey), who has just signed in, what operators wish, and whose tokens changed (all in the database). While Valkey is
away the last known presence holds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from django.db import DatabaseError, transaction
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime import credentials, demand, gaps, gates, metrics, retention, snapshot, switches, wanted
from realtime.appsync.endpoint import Endpoint
from realtime.appsync.exceptions import BadEndpoint
from realtime.bridge import Bridge
from realtime.clock import now_us
from realtime.config import Config
from realtime.database import DatabaseThread
from realtime.keeper import Keeper
from realtime.leases import Fenced, Leases, Release
from realtime.parts import Parts
from realtime.product import Product
from realtime.relay import Relay
from realtime.roster import Roster
from realtime.service_link import ServiceLink
from realtime.shadow import Shadows
from realtime.upstream import endpoints
from realtime.upstream.clock import SystemClock
from realtime.upstream.machine import NOTHING, Machine, Routes, default_routes
from realtime.upstream.permits import Permits, SharedRate
from realtime.upstream.policy import Policy
from realtime.upstream.states import State
from realtime.upstream.transport import Transport, WebSocketTransport, tls_context
from realtime.wanted import Wanted

logger = logging.getLogger("realtime.worker")

LOOK_EVERY = 0.5
"""Seconds between two looks at what is wanted: a link is dialled within this of its user's sign-in."""

LOOK_AT_ALL_EVERY = 2.0
"""Seconds between two looks at every link that is kept; in between only at those of which there is news."""

PROVE_EVERY = 2.0
"""Seconds between two beats, and writes of how far links are recorded: what a killed worker's windows begin before."""

WATCH_EVERY = 1.0
"""Seconds between two looks at what happened to the machine."""

WANTED_FOR = 60_000_000
"""Microseconds for which a sign-in by itself wants the link, until a page takes over, and so does a reconnect."""

HAND_OVER = 50
"""Links that are handed over between two looks: their new worker dials them as they come, not all at once."""


class Worker:
    """One worker process's work. ``run`` returns when ``stop`` was called, and raises Fenced when it was replaced."""

    def __init__(self, name: str, config: Config, product: Product, redis: Redis, layer: object) -> None:
        self.name = name
        self._config = config
        self._redis = redis
        self._database = DatabaseThread(f"{name} database")
        self._tokens = DatabaseThread(f"{name} tokens")
        self._leases = Leases(name)
        self.relay = Relay(redis, layer, self._database)
        self.bridge = Bridge(
            self._database,
            product.recorder,
            self.relay.push,
            self._leases.owned,
            credentials.refuse,
            lambda link_id, doubted: self._roster.compare(link_id, doubted),
        )
        self._timeline = product.timeline
        self._recorder = product.recorder
        self._upstream = config.upstream
        self._clock = SystemClock()
        self._shadows = Shadows(self._database, product.recorder)
        self._roster = Roster(
            self._make_parts(),
            self._shadows,
            endpoints.shared_credentials(config.upstream),
            credentials.issuer(),
            self._tokens,
            self._leases.owns,
            config.upstream.token_use,
            config.upstream.grace,
        )
        parts = self._roster.parts  # of loopback the routes say nothing
        routes: Callable[[], Routes | None] = (lambda: None) if parts.endpoint.loopback else default_routes
        self._machine = Machine(self._clock, parts.policy.slept_for, routes)
        self._present: set[int] = set()
        self._asked: set[int] = set()
        self._looked_at_all = 0.0
        self._valkey_away = False
        self._stopping = asyncio.Event()

    @property
    def keepers(self) -> Mapping[int, Keeper]:
        """The links that it keeps."""
        return self._roster.keepers

    def stop(self) -> None:
        """Ask ``run`` to hand everything over and return."""
        self._stopping.set()

    async def run(self) -> None:
        stopping = asyncio.create_task(self._stopping.wait(), name="stopping")
        beginning = asyncio.create_task(self._begin(), name="beginning")
        await asyncio.wait([beginning, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not beginning.done() or beginning.exception() is not None:
            await _cancelled(beginning)
            await _cancelled(stopping)
            await self._close()
            if not beginning.cancelled():
                beginning.result()
            return
        tasks = [
            asyncio.create_task(self.bridge.run(), name="bridge"),
            asyncio.create_task(self.relay.run(), name="relay"),
            asyncio.create_task(self._prove(), name="prove"),
            asyncio.create_task(self._look(), name="look"),
            asyncio.create_task(self._watch_machine(), name="machine watch"),
            asyncio.create_task(self._keep_short(), name="retention"),
        ]
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopping}:
                task.result()
        finally:
            stopping.cancel()
            await self._end(tasks)

    # ── The beginning and the end ────────────────────────────────────────────────────────────────────────────

    async def _begin(self) -> None:
        """Take the name and its leases, and open windows for what its last life left live."""
        delay = 0.2
        while True:
            try:
                adopted = await self._database.run(self._leases.join)
                break
            except DatabaseError as error:
                logger.warning(
                    "the database is away (%s): trying again. Is DATABASE_URL right, and was `manage.py migrate` run?",
                    error,
                )
                await asyncio.sleep(delay)
                delay = min(delay * 2, 2.0)
        if adopted:
            logger.info("%d links were live when the last worker of this name ended: their gaps are open", adopted)

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        """Hand everything over. The beat goes on meanwhile, so that nobody takes what is not released yet."""
        recording, relaying, proving, *following = tasks
        for task in following:
            await _cancelled(task)
        await self._roster.let_go(list(self.keepers), "the worker stopped")
        await self._end_service("the worker stopped")
        await _cancelled(recording)
        await _cancelled(relaying)
        try:
            async with asyncio.timeout(10):
                await self.bridge.drain()
                await self.relay.flush()
                await self._database.run(self._leases.leave)
        except (TimeoutError, Fenced, DatabaseError) as error:
            logger.error("stopped without writing everything: %s; the next worker opens gaps for it", error)
        await _cancelled(proving)
        await self._close()

    async def _end_service(self, reason: str) -> None:
        if (service := self._roster.parts.service) is not None:
            await service.stop(reason)

    async def _close(self) -> None:
        self._database.close()
        self._tokens.close()
        await self._redis.aclose()

    def _make_parts(self) -> Parts:
        upstream = self._upstream
        endpoint = endpoints.configured(upstream)
        policy = endpoints.policy(upstream)
        tls = tls_context(str(upstream.ca_file) if upstream.ca_file else None)
        transport = WebSocketTransport(tls, policy.ping_every)
        permits = Permits(SharedRate(self._redis, endpoint.host, self._clock), self._clock)
        return Parts(
            worker=self.name,
            endpoint=endpoint,
            transport=transport,
            policy=policy,
            bridge=self.bridge,
            recorder=self._recorder,
            organizations=self._organizations,
            provider=snapshot.configured(upstream),
            permits=permits,
            clock=self._clock,
            rng=Random(),
            root=upstream.channel_root,
            settle=upstream.settle,
            service=self._service_link(endpoint, transport, policy, permits) if upstream.shares_a_connection else None,
        )

    def _service_link(self, endpoint: Endpoint, transport: Transport, policy: Policy, permits: Permits) -> ServiceLink:
        credentials = endpoints.shared_credentials(self._upstream)
        if credentials is None:
            raise BadEndpoint(f"UPSTREAM_LINKS=service needs credentials of its own, not {self._upstream.auth} tokens")
        return ServiceLink(
            self.name,
            endpoint,
            credentials,
            transport,
            policy,
            permits,
            self._clock,
            Random(),
            self._upstream.channel_root,
            self.bridge,
            self._database,
            self._recorder,
        )

    async def _organizations(self, user_id: int) -> list[str]:
        """As Recorder.organizations, however long the database is away: a repair that ended for it would not return."""
        while True:
            try:
                return await self._database.run(self._recorder.organizations, user_id)
            except DatabaseError as error:
                logger.warning("can't see whose news is wanted: %s", error)
            await asyncio.sleep(LOOK_EVERY)

    # ── What is wanted ───────────────────────────────────────────────────────────────────────────────────────

    async def _look(self) -> None:
        while True:
            await self._look_once()
            await asyncio.sleep(LOOK_EVERY)

    async def _look_once(self) -> None:
        await self._ask_presence()
        try:
            surplus = await self._follow_leases()
            protocol = await self._database.run(switches.get, switches.PROTOCOL, self._config.upstream.protocol)
            await self._follow_protocol(protocol)
            self._roster.follow_gates(await self._database.run(gates.shut))
            links = await self._look_at_links()
        except DatabaseError as error:
            logger.warning("can't see what is wanted: %s", error)
            return
        applied = [(row.link_id, row.revision) for row in links if self._roster.follow(row)]
        try:
            await self._database.run(self._note_applied, applied)
        except DatabaseError as error:
            logger.warning("can't note which wishes were followed, so they will be met again: %s", error)
        self._roster.follow_service()
        await self._roster.forget()
        self._roster.ask_again()
        await self._hand_over(surplus)
        if self._roster.parts.service is None:  # there is nothing of a link's own to compare with
            await self._shadows.follow(self.keepers, self._roster.parts, self._upstream)

    async def _look_at_links(self) -> list[Wanted]:
        """Return the links of which something may be wanted anew: at times all that are kept, else only the news.

        Each is to be followed: of who came nobody asks again.
        """
        now = time.monotonic()
        everything = now - self._looked_at_all >= LOOK_AT_ALL_EVERY
        present, kept = self._present, set(self.keepers) if everything else set()
        links = await self._database.run(
            wanted.look, self._leases.held, present, present - self._asked, kept, now_us() - WANTED_FOR
        )
        self._asked = present
        if everything:
            self._looked_at_all = now
        found = {row.link_id for row in links}
        return links + self._roster.left_by(present, found)

    def _note_applied(self, applied: Sequence[tuple[int, int]]) -> None:
        if not applied:
            return
        with transaction.atomic():
            owned = self._leases.owned(link_id for link_id, _ in applied)
            wanted.note_applied((link_id, revision) for link_id, revision in applied if link_id in owned)

    # ── What is this worker's ────────────────────────────────────────────────────────────────────────────────

    async def _follow_leases(self) -> Collection[int]:
        """Let go of links that others took, and return the buckets that are to be handed over."""
        change = await self._database.run(self._leases.look)
        metrics.BUCKETS.set(len(self._leases.held))
        if change.taken:
            self._asked = set()
            logger.info("took %d buckets; %d of their links were left live", len(change.taken), change.left_live)
        if change.lost:
            logger.warning("%d buckets were taken over: this worker seemed dead", len(change.lost))
            await self._roster.let_go(self._roster.kept_in(change.lost), "taken over by another worker")
        return change.surplus

    async def _hand_over(self, surplus: Iterable[int]) -> None:
        """Give up some of these buckets, each when all that its links told is recorded."""
        links: set[int] = set()
        buckets: set[int] = set()
        for bucket in surplus:
            if len(links) >= HAND_OVER:
                break
            buckets.add(bucket)
            links |= self._roster.kept_in({bucket})
        if buckets:
            await self._roster.let_go(links, "handed over to another worker")
            held = self._leases.held
            await self.bridge.note(Release(self.name, [(bucket, held[bucket]) for bucket in buckets]))
            self._leases.forget(buckets)
            logger.info("handed over %d buckets with %d links", len(buckets), len(links))

    async def _keep_short(self) -> None:
        """Delete what is too old, as long as the first bucket is this worker's: one of all has it."""
        await retention.keep_short(self._config.retention, self._timeline, lambda: 0 in self._leases.held)

    # ── The dialect ──────────────────────────────────────────────────────────────────────────────────────────

    async def _follow_protocol(self, protocol: str) -> None:
        """Begin every link anew in the dialect that is wanted now. Each one's window closes by its own snapshot."""
        if protocol == self._upstream.protocol:
            return
        before, self._upstream = self._upstream, replace(self._upstream, protocol=protocol)
        try:
            parts = self._make_parts()
        except BadEndpoint as error:
            logger.error("the links stay with %s: %s", before.protocol, error)
            self._upstream = before
            return
        logger.info("the links change from %s to %s", before.protocol, protocol)
        reason = f"changing to {protocol}"
        await self._roster.let_go(list(self.keepers), reason)
        await self._end_service(reason)
        self._roster.use(parts)
        self._asked = set()

    async def _ask_presence(self) -> None:
        try:
            self._present = await demand.present(self._redis)
            self._valkey_away = False
        except (RedisError, OSError) as error:
            if not self._valkey_away:
                logger.warning("Valkey is away (%s): the last known presence holds", error)
            self._valkey_away = True

    # ── Proof of life ────────────────────────────────────────────────────────────────────────────────────────

    async def _prove(self) -> None:
        unwritten: dict[int, tuple[int, int, int]] = {}
        while True:
            states = Counter(keeper.state for keeper in self.keepers.values())
            for state in State:
                metrics.LINKS.labels(state.value).set(states[state])
            if (service := self._roster.parts.service) is not None:
                service.prove()
            through = self.bridge.recorded_through()
            self._roster.reconcile()
            for link_id, proven, received in self._roster.proofs(through):
                unwritten[link_id] = link_id, proven, received + unwritten.get(link_id, (0, 0, 0))[2]
            try:
                await self._database.run(self._beat, list(unwritten.values()))
                unwritten.clear()
            except DatabaseError as error:
                logger.warning("can't write the beat: %s", error)
            await asyncio.sleep(PROVE_EVERY)

    def _beat(self, proofs: Sequence[tuple[int, int, int]]) -> None:
        with transaction.atomic():
            self._leases.beat()
            owned = self._leases.owned(link_id for link_id, *_ in proofs)
            gaps.prove([proof for proof in proofs if proof[0] in owned])

    async def _watch_machine(self) -> None:
        """Tell every link when the machine slept, or what became of its network."""
        while True:
            await asyncio.sleep(WATCH_EVERY)
            happened = self._machine.look()
            if happened != NOTHING:
                logger.warning("%s", happened)
                for manager in self._roster.managers:
                    happened.tell(manager)


async def _cancelled(task: asyncio.Task[Any]) -> None:
    task.cancel()
    await asyncio.wait([task])
