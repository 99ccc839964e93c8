"""Users' upstream tokens at rest: sealed with TOKEN_KEY, one row a user, a new generation with each sign-in.

The newest key seals, every configured one opens. So a key is rotated by putting a new one first; ``reseal`` then brings
the stored tokens to it, and ``seals`` tells when nothing needs the old key any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ParamSpec, TypeVar

import msgspec
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.db import DatabaseError, transaction
from django.db.models import F

from realtime import config, sql
from realtime.appsync.auth import Authorization, Token
from realtime.clock import now_us
from realtime.database import DatabaseThread
from realtime.models import Credential, Link
from realtime.upstream.credentials import TokenRefused, Tokens, TokenUnavailable
from realtime.upstream.http import TokenIssuer

P = ParamSpec("P")
T = TypeVar("T")

BATCH = 500
"""Rows that are read at a time when all are: some kilobytes each."""

NO_CREDENTIAL = "not signed in upstream: sign in again"


class _Sealed(msgspec.Struct, array_like=True):
    id_token: str
    access_token: str
    refresh_token: str
    expires_at: float
    issued_at: float


def issuer() -> TokenIssuer:
    """Return the configured issuer."""
    settings = config.load().issuer
    return TokenIssuer(settings.token_url, settings.client_id, settings.client_secret)


def sign_in(user: Any, username: str, password: str) -> str:
    """Fetch a local account's upstream tokens and have its link opened; return why that failed, or nothing.

    The sign-in itself does not depend on it: without tokens the user sees what is recorded, and why it isn't live.
    """
    if not user.subject:
        return "this account has no upstream subject"
    if not config.load().issuer.token_url:
        return "no issuer is configured (OIDC_TOKEN_URL)"
    try:
        store(user.pk, issuer().password(username, password))
    except (TokenRefused, TokenUnavailable) as error:
        return str(error)
    finally:
        want_link(user)
    return ""


def want_link(user: Any) -> None:
    """Have a worker open the user's link now; it needs no Valkey, because workers read it from the database."""
    if user.subject:
        wanted = {"subject": user.subject, "wanted_at": now_us()}
        Link.objects.update_or_create(user=user, defaults=wanted)


def store(user_id: int, tokens: Tokens) -> None:
    """Keep the tokens of a new sign-in."""
    with transaction.atomic():
        row, _ = Credential.objects.select_for_update().get_or_create(user_id=user_id, defaults={"sealed": b""})
        row.sealed, row.generation, row.refused = _seal(tokens), row.generation + 1, ""
        row.save()


def refuse(user_id: int, reason: str) -> None:
    """Note that this user's tokens are worth nothing any more, until the next sign-in, and end their generation."""
    Credential.objects.filter(user_id=user_id).update(refused=sql.text(reason, 200), generation=F("generation") + 1)


def stored(user_id: int, use: str) -> Authorization:
    """Return the stored token of a user, as it is; raises TokenRefused if there is none that could be used."""
    tokens = DatabaseVault.read(user_id)
    return Token(tokens.id_token if use == "id" else tokens.access_token)


class DatabaseVault:
    """One user's tokens for the worker that owns the link; as upstream.credentials.Vault.

    ``owned`` tells, in the transaction of a write, whether the link is still that worker's. One that lost it writes
    nothing: it would put its tokens, or their refusal, over those of the new owner.
    """

    def __init__(self, user_id: int, database: DatabaseThread, owned: Callable[[], bool]) -> None:
        self._user_id = user_id
        self._database = database
        self._owned = owned

    async def load(self) -> Tokens:
        return await self._run(self.read, self._user_id)

    async def save(self, tokens: Tokens) -> bool:
        return await self._run(self._save, tokens)

    async def refuse(self, generation: int, reason: str) -> None:
        await self._run(self._refuse, generation, reason)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run it; a database that does not answer is no word on the tokens."""
        try:
            return await self._database.run(function, *args, **kwargs)
        except DatabaseError as error:
            raise TokenUnavailable(f"the stored tokens can't be reached: {error}") from None

    @staticmethod
    def read(user_id: int) -> Tokens:
        row = Credential.objects.filter(user_id=user_id).first()
        if row is None:
            raise TokenRefused(NO_CREDENTIAL)
        if row.refused:
            raise TokenRefused(row.refused)
        return _open(bytes(row.sealed), row.generation)

    def _save(self, tokens: Tokens) -> bool:
        return self._write(tokens.generation, sealed=_seal(tokens))

    def _refuse(self, generation: int, reason: str) -> None:
        self._write(generation, refused=sql.text(reason, 200))

    def _write(self, generation: int, **values: Any) -> bool:
        with transaction.atomic():
            mine = Credential.objects.filter(user_id=self._user_id, generation=generation)
            return self._owned() and bool(mine.update(**values))


def seals() -> Counter[str]:
    """Return how many users' tokens each kind of key opens: ``newest``, ``older``, or ``lost``, which nothing opens."""
    return Counter(_opened_by(bytes(sealed)) for sealed in Credential.objects.values_list("sealed", flat=True))


def reseal() -> int:
    """Seal with the newest key what an older one sealed, and return how many that were.

    A row that changes meanwhile is left alone: whoever changed it sealed it with its own newest key.
    """
    if len(config.load().token_keys) == 1:
        return 0
    stored = Credential.objects.order_by("pk").values_list("pk", "sealed")
    resealed, some = 0, list(stored[:BATCH])
    while some:
        for pk, sealed in some:
            if _opened_by(bytes(sealed)) == "older":
                fresh = _keys().rotate(bytes(sealed))
                resealed += Credential.objects.filter(pk=pk, sealed=sealed).update(sealed=fresh)
        some = list(stored.filter(pk__gt=some[-1][0])[:BATCH])
    return resealed


def _opened_by(sealed: bytes) -> str:
    for kind, key in (("newest", Fernet(config.load().token_keys[0])), ("older", _keys())):
        with suppress(InvalidToken):
            key.decrypt(sealed)
            return kind
    return "lost"


def _keys() -> MultiFernet:
    return MultiFernet([Fernet(key) for key in config.load().token_keys])


def _seal(tokens: Tokens) -> bytes:
    kept = _Sealed(tokens.id_token, tokens.access_token, tokens.refresh_token, tokens.expires_at, tokens.issued_at)
    return _keys().encrypt(msgspec.json.encode(kept))


def _open(sealed: bytes, generation: int) -> Tokens:
    try:
        kept = msgspec.json.decode(_keys().decrypt(sealed), type=_Sealed)
    except InvalidToken:
        raise TokenRefused("the stored tokens were sealed with another TOKEN_KEY: sign in again") from None
    return Tokens(kept.id_token, kept.access_token, kept.refresh_token, kept.expires_at, kept.issued_at, generation)
