"""Who a link speaks for: tokens that are kept, refreshed once for all who wait, and never mixed up.

The refresh is single-flight and fenced: what comes back for an earlier sign-in than the stored one is thrown away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from realtime.appsync.auth import Authorization, Token


class TokenUnavailable(Exception):
    """No token could be had now; a later try may succeed."""


class TokenRefused(Exception):
    """No token will be had until the user signs in again; the text says why."""


class Credentials(Protocol):
    async def get(self, *, refresh: bool = False) -> Authorization:
        """Return a way to authorise that is valid now; with ``refresh``, made from a new token.

        Raises TokenUnavailable or TokenRefused.
        """

    async def close(self) -> None:
        """Wait for what must not be cut off; called when the link is stopped."""


@dataclass(frozen=True, slots=True)
class StaticCredentials:
    """An API key, or a token that somebody else looks after."""

    authorization: Authorization

    async def get(self, *, refresh: bool = False) -> Authorization:
        return self.authorization

    async def close(self) -> None:
        """There is nothing under way."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """What an issuer gave. ``expires_at`` is wall-clock seconds; ``generation`` is the sign-in they come from."""

    id_token: str = field(repr=False)
    access_token: str = field(repr=False)
    refresh_token: str = field(repr=False)
    expires_at: float
    issued_at: float
    generation: int = 0


class Issuer(Protocol):
    async def refresh(self, refresh_token: str) -> Tokens:
        """Return new tokens; raises TokenUnavailable or TokenRefused."""


class Vault(Protocol):
    """Where one user's tokens are kept."""

    async def load(self) -> Tokens:
        """Return the stored tokens; raises TokenRefused if there are none, or the issuer refused them for good."""

    async def save(self, tokens: Tokens) -> bool:
        """Store them unless a later sign-in has stored its own; tell whether they were stored."""

    async def refuse(self, generation: int, reason: str) -> None:
        """Note that the issuer refused that generation."""


MARGIN = 0.1
"""The share of a token's life before whose end it is refreshed."""

LEAST_MARGIN = 30.0


class UserCredentials:
    """One user's tokens, refreshed before they expire. ``use`` picks the token that the API wants."""

    def __init__(self, vault: Vault, issuer: Issuer, wall: Callable[[], float], use: str = "id") -> None:
        self._vault = vault
        self._issuer = issuer
        self._wall = wall
        self._use = use
        self._refreshing: asyncio.Task[Tokens] | None = None

    async def get(self, *, refresh: bool = False) -> Authorization:
        tokens = await self.tokens(refresh=refresh)
        return Token(tokens.id_token if self._use == "id" else tokens.access_token)

    async def tokens(self, *, refresh: bool = False) -> Tokens:
        """Return valid tokens; all who ask while one refresh is under way get its result.

        A refresh goes on when who asked for it is cancelled: many issuers take a refresh token only once, so an
        answer that is not stored would cost the sign-in.
        """
        if self._refreshing is None:
            tokens = await self._vault.load()
            if not refresh and self._fresh(tokens):
                return tokens
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh(), name="token refresh")
            self._refreshing.add_done_callback(self._refreshed)
        return await asyncio.shield(self._refreshing)

    async def close(self) -> None:
        """Wait until a refresh that is under way has been stored."""
        if self._refreshing is not None:
            await asyncio.wait([self._refreshing])

    async def _refresh(self) -> Tokens:
        stored = await self._vault.load()
        try:
            fresh = await self._issuer.refresh(stored.refresh_token)
        except TokenRefused as error:
            await self._vault.refuse(stored.generation, str(error))
            return await self._vault.load()  # raises the refusal, unless there has been another sign-in meanwhile
        kept = Tokens(
            fresh.id_token,
            fresh.access_token,
            fresh.refresh_token or stored.refresh_token,
            fresh.expires_at,
            fresh.issued_at,
            stored.generation,
        )
        return kept if await self._vault.save(kept) else await self._vault.load()

    def _refreshed(self, task: asyncio.Task[Tokens]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()  # retrieved here too, in case everybody who waited was cancelled

    def _fresh(self, tokens: Tokens) -> bool:
        life = tokens.expires_at - tokens.issued_at
        margin = min(max(LEAST_MARGIN, MARGIN * life), life / 2)
        return self._wall() < tokens.expires_at - margin
