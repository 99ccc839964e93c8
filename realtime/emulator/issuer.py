"""Who signs in: an OpenID Connect issuer's tokens, as values. Its addresses are in ``oauth``.

Refresh tokens are signed too, so sessions outlive a restart without a store; only what was revoked is kept.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jwt
import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from realtime.emulator.clock import wall_us

Use = Literal["id", "access", "refresh"]
ALGORITHM = "RS256"
KEY_ID = "emulator-1"
DEFAULT_CLIENT = "fleetlight"
REFRESH_TTL = 30 * 24 * 3600


class TokenError(Exception):
    """A token that cannot be used; the message says why, in the words of the service where they are known."""


class KeptError(Exception):
    """The file with the signing key cannot be read; the message says what to do."""


class Kept(msgspec.Struct):
    """What has to survive a restart: the signing key, and who was signed out when (microseconds)."""

    key: str
    revoked_sessions: set[str] = set()
    revoked_subjects: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Grant:
    """The tokens of one sign-in."""

    id_token: str
    access_token: str
    refresh_token: str
    expires_in: int

    def as_dict(self) -> dict[str, object]:
        return {
            "id_token": self.id_token,
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "expires_in": self.expires_in,
            "token_type": "Bearer",
        }


class Issuer:
    """Issues, checks, refreshes and revokes tokens. ``path`` keeps the key and the revocations, if given."""

    def __init__(self, url: str, *, ttl: int, path: Path | None = None, wall: Callable[[], int] = wall_us) -> None:
        self.url = url
        self._ttl = ttl
        self._path = path
        self._wall = wall
        self._kept = _load(path)
        self._expired: dict[str, int] = {}
        # The check takes most of the start, and the key is one that we made.
        private = serialization.load_pem_private_key(self._kept.key.encode(), None, unsafe_skip_rsa_key_validation=True)
        assert isinstance(private, rsa.RSAPrivateKey)
        self._private = private
        self._public = private.public_key()
        self._last = 0

    def grant(
        self,
        sub: str,
        *,
        username: str | None = None,
        session: str | None = None,
        client: str = DEFAULT_CLIENT,
        nonce: str | None = None,
        ttl: int | None = None,
    ) -> Grant:
        """Sign ``sub`` in, or on in its ``session``; ``ttl`` in seconds may be negative, for a token of yesterday."""
        ttl = self._ttl if ttl is None else ttl
        about = {"sub": sub, "username": username or sub, "sid": session or secrets.token_hex(8)}
        extra = {} if nonce is None else {"nonce": nonce}
        return Grant(
            self._sign("id", ttl, {**about, **extra, "aud": client}),
            self._sign("access", ttl, {**about, "client_id": client}),
            self._sign("refresh", REFRESH_TTL, {**about, "client_id": client}),
            ttl,
        )

    def refresh(self, token: str) -> Grant:
        """Return new tokens for a refresh token's session; raises TokenError."""
        claims = self.check(token, "refresh")
        return self.grant(claims["sub"], username=claims["username"], session=claims["sid"], client=claims["client_id"])

    def check(self, token: str, *uses: Use) -> Mapping[str, Any]:
        """Return the claims of a token that is ours, of one of these uses, in time and not revoked; else TokenError."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token, self._public, [ALGORITHM], options={"verify_aud": False, "verify_iat": False}
            )
        except jwt.ExpiredSignatureError:
            raise TokenError("Token has expired.") from None
        except jwt.PyJWTError as error:
            raise TokenError(f"Unable to parse JWT token: {error}") from error
        if claims.get("token_use") not in uses:
            raise TokenError(f"A token for use as {claims.get('token_use')} is not accepted here.")
        self._check_revoked(claims)
        return claims

    def session_of(self, token: str) -> str | None:
        """Return the session of a token of ours, expired or not; None for a foreign one."""
        try:
            claims = jwt.decode(token, self._public, [ALGORITHM], options={"verify_aud": False, "verify_exp": False})
        except jwt.PyJWTError:
            return None
        session = claims.get("sid")
        return session if isinstance(session, str) else None

    def revoke_session(self, session: str) -> None:
        """End one sign-in: none of its tokens is accepted again."""
        self._kept.revoked_sessions.add(session)
        self._keep()

    def revoke_subject(self, sub: str) -> None:
        """End every sign-in of a person so far."""
        self._kept.revoked_subjects[sub] = self._now()
        self._keep()

    def expire(self, sub: str) -> None:
        """Let the id and access tokens that a person has so far count as expired; refreshing still works."""
        self._expired[sub] = self._now()

    def jwks(self) -> dict[str, object]:
        key = jwt.algorithms.RSAAlgorithm.to_jwk(self._public, as_dict=True)
        return {"keys": [{**key, "kid": KEY_ID, "alg": ALGORITHM, "use": "sig"}]}

    def _now(self) -> int:
        """Return a time that no other token or revocation has."""
        self._last = max(self._wall(), self._last + 1)
        return self._last

    def _sign(self, use: Use, ttl: int, claims: dict[str, Any]) -> str:
        now = self._now()
        times = {"iat": now // 1_000_000, "auth_time": now // 1_000_000, "exp": now // 1_000_000 + ttl}
        private = {"iss": self.url, "token_use": use, "jti": secrets.token_hex(8), "issued_us": now}
        return jwt.encode({**claims, **times, **private}, self._private, ALGORITHM, {"kid": KEY_ID})

    def _check_revoked(self, claims: Mapping[str, Any]) -> None:
        issued, sub = claims["issued_us"], claims["sub"]
        if claims["sid"] in self._kept.revoked_sessions or issued <= self._kept.revoked_subjects.get(sub, 0):
            raise TokenError("Token has been revoked.")
        if claims["token_use"] != "refresh" and issued <= self._expired.get(sub, 0):
            raise TokenError("Token has expired.")

    def _keep(self) -> None:
        if self._path is not None:
            _write_private(self._path, msgspec.json.encode(self._kept))


def _load(path: Path | None) -> Kept:
    if path is not None and path.exists():
        return _read(path)
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    kept = Kept(pem.decode())
    if path is not None:
        _write_private(path, msgspec.json.encode(kept))
    return kept


def _read(path: Path) -> Kept:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except msgspec.DecodeError as error:
        raise KeptError(f"{path} holds no signing key ({error}); remove the file") from error


def _write_private(path: Path, data: bytes) -> None:
    """Replace a file by one that only its owner can read; a crash leaves the old or the new one."""
    fresh = path.with_name(path.name + ".new")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
    os.replace(fresh, path)
