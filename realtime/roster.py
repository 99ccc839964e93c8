"""The links that a worker keeps: opened when wanted, brought to what is wanted of them, and let go again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Collection
from functools import partial

from realtime import credentials
from realtime.database import DatabaseThread
from realtime.gates import Gate, Gatekeeper
from realtime.keeper import Keeper
from realtime.models import bucket_of
from realtime.parts import Parts
from realtime.service_link import RESTING
from realtime.shadow import Shadows
from realtime.upstream.credentials import Credentials, UserCredentials
from realtime.upstream.http import TokenIssuer
from realtime.upstream.manager import Manager
from realtime.upstream.verbs import AUTH_GATE
from realtime.wanted import Wanted

FORGET_AFTER = 600.0
"""Seconds after which the keeper of a link is let go that nobody watches and that rests."""

ASK_AGAIN_AFTER = 300.0
"""Seconds after which credentials that all links share are tried again although they were refused: no sign-in of
anybody will change them, but whoever is asked about them may have been wrong."""

logger = logging.getLogger("realtime.worker")


class Roster:
    """A worker's keepers by link id. ``parts`` is what the next ones are made of; a change of dialect replaces it."""

    def __init__(
        self,
        parts: Parts,
        shadows: Shadows,
        shared: Credentials | None,
        issuer: TokenIssuer,
        tokens: DatabaseThread,
        owns: Callable[[int], bool],
        token_use: str,
        grace: float,
    ) -> None:
        """
        Args:
            shared: the credentials of all links, if they do not each have their user's.
            owns: tells whether the worker still owns a link, as nobody else may write its tokens.
            grace: seconds that a link is kept when nobody watches.
        """
        self.parts = parts
        self.keepers: dict[int, Keeper] = {}
        self._shadows = shadows
        self._shared = shared
        self._issuer = issuer
        self._tokens = tokens
        self._owns = owns
        self._token_use = token_use
        self._grace = grace
        self._gatekeeper = Gatekeeper()
        self._seen: dict[int, Wanted] = {}
        self._idle_since: dict[int, float] = {}

    @property
    def managers(self) -> list[Manager]:
        """Those of all connections: the links' own, or the one that they share, and of what hears along with them."""
        if self.parts.service is not None:
            return [self.parts.service.manager]
        return [*(keeper.manager for keeper in self.keepers.values()), *self._shadows.managers]

    def use(self, parts: Parts) -> None:
        """Make the next keepers of other parts."""
        self.parts = parts
        if parts.service is not None:
            self._gatekeeper.admit(parts.service.manager)

    def left_by(self, present: Collection[int], found: Collection[int]) -> list[Wanted]:
        """Return the links whose users are no longer present, but for those that were found anew."""
        left = [row for row in self._seen.values() if row.present and row.user_id not in present]
        return [row._replace(present=False) for row in left if row.link_id not in found]

    def kept_in(self, buckets: Collection[int]) -> set[int]:
        """Return the links in these buckets."""
        return {link_id for link_id in self.keepers if bucket_of(link_id) in buckets}

    def follow_gates(self, shut: dict[str, Gate]) -> None:
        """Let all links know which gates are shut now."""
        self._gatekeeper.follow(shut, self.managers)

    def follow(self, row: Wanted) -> bool:
        """Bring one link to what is wanted of it; tell whether an operator's wish was followed by that."""
        keeper = self.keepers.get(row.link_id)
        if keeper is None:
            if not row.present and row.applied == row.revision:
                return False
            keeper = self._open(row)
        before = self._seen.get(row.link_id)
        if row == before:
            return row.applied != row.revision
        self._seen[row.link_id] = row
        self._follow_tokens(keeper, row, before)
        if before is not None and row.reconnect != before.reconnect and row.allowed:
            if self._shared is not None:
                keeper.manager.auth_changed(keeper.subject)
            if self.parts.service is not None:
                self.parts.service.reconnect()
            keeper.manager.connect_now()
        if before is None or row.demand != before.demand:
            self._follow_demand(keeper, row)
        if before is not None and row.rotate != before.rotate:
            shared = self.parts.service
            (keeper if shared is None else shared).manager.rotate("asked for by an operator")
        if before is not None and row.repair != before.repair:
            keeper.compare()
        if before is not None and row.switch != before.switch:
            keeper.switch()
        return row.applied != row.revision

    def _open(self, row: Wanted) -> Keeper:
        keeper = Keeper(row.link_id, row.user_id, row.subject, self._credentials_of(row), self.parts)
        self.keepers[row.link_id] = keeper
        if self.parts.service is None:
            self._gatekeeper.admit(keeper.manager)
        else:
            self.parts.service.admit(row.user_id, keeper.manager)
        if self._shared is None and (not row.generation or row.refused):
            keeper.manager.shut_gate(AUTH_GATE, row.refused or credentials.NO_CREDENTIAL)
        return keeper

    def _credentials_of(self, row: Wanted) -> Credentials:
        if self._shared is not None:
            return self._shared
        owned = partial(self._owns, row.link_id)
        vault = credentials.DatabaseVault(row.user_id, self._tokens, owned)
        return UserCredentials(vault, self._issuer, time.time, self._token_use)

    def _follow_tokens(self, keeper: Keeper, row: Wanted, before: Wanted | None) -> None:
        """Use what a sign-in brought, and close the link once its tokens were revoked.

        An issuer that gives no new ones says nothing against the token with which the connection was opened.
        """
        if self._shared is not None or before is None:
            return
        if (row.generation, row.refused) == (before.generation, before.refused):
            return
        if row.refused and row.generation != before.generation:
            keeper.manager.shut_gate(AUTH_GATE, row.refused)
        elif row.refused:
            keeper.manager.shut_gate(AUTH_GATE, f"the issuer refuses a token: {row.refused}", keep=True)
        else:
            keeper.manager.auth_changed(row.subject)
            keeper.manager.start()

    def _follow_demand(self, keeper: Keeper, row: Wanted) -> None:
        """Let the link come or go with who wants it. A new wish for it also ends that it gave up."""
        manager = keeper.manager
        if not row.allowed:
            reason = "suspended by an operator" if row.suspended else "the account is not active"
            manager.suspend(reason)
            self._idle_since.pop(row.link_id, None)
        elif row.present:
            self._idle_since.pop(row.link_id, None)
            manager.resume()
            manager.start()
        elif row.link_id not in self._idle_since:
            self._idle_since[row.link_id] = time.monotonic()
            manager.suspend("nobody is watching", self._grace)

    def reconcile(self) -> None:
        """Compare the links that were compared long ago."""
        for keeper in self.keepers.values():
            keeper.repairs.reconcile()

    def proofs(self, through: int) -> list[tuple[int, int, int]]:
        """Return what there is to be proven of the open links, as Keeper.proof."""
        told = [keeper.proof(through) for keeper in self.keepers.values() if keeper.provable]
        return [proof for proof in told if proof is not None]

    def compare(self, link_id: int, doubted: str | None) -> None:
        """Compare what is recorded of a link with a snapshot; a feed's window just opened if one is ``doubted``."""
        keeper = self.keepers.get(link_id)
        if keeper is None:
            return
        if doubted is None:
            keeper.repairs.compare()
        else:
            keeper.repairs.doubt(doubted)

    async def forget(self) -> None:
        """Let go of links that nobody has watched for long: their state is in the database."""
        now = time.monotonic()
        idle = [link_id for link_id, since in self._idle_since.items() if now - since > FORGET_AFTER]
        resting = [pk for pk in idle if self.keepers[pk].manager.snapshot.state in RESTING]
        await self.let_go(resting, "nobody is watching")

    def ask_again(self) -> None:
        """Let links try again whose shared credentials were refused a while ago."""
        if self._shared is None:
            return
        now = self.parts.clock.monotonic()
        for manager in self.managers:
            snapshot = manager.snapshot
            if AUTH_GATE in snapshot.waiting_for and now - snapshot.since >= ASK_AGAIN_AFTER:
                manager.auth_changed(manager.name)

    def follow_service(self) -> None:
        """Have the connection that all links share, if there is one, while any of them is wanted."""
        if self.parts.service is not None:
            self.parts.service.follow(any(keeper.state not in RESTING for keeper in self.keepers.values()))

    async def let_go(self, link_ids: Collection[int], reason: str) -> None:
        """End these links; their windows open as with any other loss."""
        await self._shadows.end(link_ids, reason)
        keepers = [self.keepers.pop(link_id) for link_id in link_ids]
        for keeper in keepers:
            self._seen.pop(keeper.link_id, None)
            self._idle_since.pop(keeper.link_id, None)
            if self.parts.service is not None:
                self.parts.service.dismiss(keeper.user_id)
        ended = await asyncio.gather(*(keeper.stop(reason) for keeper in keepers), return_exceptions=True)
        for keeper, fault in zip(keepers, ended, strict=True):
            if isinstance(fault, BaseException):
                logger.error("link %s did not end as it should", keeper.subject, exc_info=fault)
