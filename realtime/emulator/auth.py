"""Who is calling, and may they: API key, the issuer's JWT, Lambda token, IAM signature.

The same object of names and values comes as a ``header-`` subprotocol, a query parameter, plain HTTP headers, or
inside a message; names are matched without regard to case, since clients write them in several.
https://docs.aws.amazon.com/appsync/latest/eventapi/configure-event-api-auth.html
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from realtime.emulator import sigv4
from realtime.emulator.errors import bad_request, unauthorized
from realtime.emulator.issuer import Issuer, TokenError
from realtime.emulator.options import Auth

Mode = Literal["api-key", "jwt", "lambda", "iam"]
OperationName = Literal["connect", "subscribe", "publish"]
CREDENTIALS = frozenset({"x-api-key", "authorization"})


@dataclass(frozen=True, slots=True)
class Identity:
    """Who was let in, and how; only a JWT has a subject."""

    mode: Mode
    sub: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """What is being asked for: as far as signing goes always a POST to ``path`` with ``body``.

    ``namespace`` is that of the channel that it is about, if it is about one. ``rebuilt``: ``body`` is what the
    service makes of a message, and not what the client sent.
    """

    name: OperationName
    path: str
    body: bytes
    namespace: str = ""
    rebuilt: bool = False


class Authorizer:
    """Tells who a set of credentials belongs to, and what they may do. ``host`` is this server's own."""

    def __init__(self, auth: Auth, issuer: Issuer, root: str, host: str = "") -> None:
        self._auth = auth
        self._issuer = issuer
        self._root = root
        self.host = host

    def identify(self, credentials: Mapping[str, str], call: Call) -> Identity:
        """Return who calls; raises ApiError when nobody we know, or in a mode that this call does not take."""
        if self._auth.checks_host and credentials.get("host", self.host) != self.host:
            raise bad_request(f"The host in the authorization is not {self.host}.")
        identity = self._identity(credentials, call)
        modes = self._auth.modes
        taken = modes.get(f"{call.name}@{call.namespace}", modes.get(call.name))
        if taken is not None and identity.mode not in taken:
            raise unauthorized()
        return identity

    def check_channel(self, identity: Identity, channel: str) -> None:
        """Hold a JWT below the channel root to its own subject's channels; raises ApiError.

        This is the rule of the fleet's own authorizer; AppSync itself leaves it to the API's owner.
        """
        if identity.mode != "jwt" or not channel.startswith(f"/{self._root}/"):
            return
        if not channel.startswith(f"/{self._root}/user/{identity.sub}/"):
            raise unauthorized()

    def _identity(self, credentials: Mapping[str, str], call: Call) -> Identity:
        if "x-api-key" in credentials:
            return self._api_key(credentials["x-api-key"])
        token = credentials.get("authorization", "")
        if token.startswith("AWS4-HMAC-SHA256"):
            return self._iam(credentials, call)
        if self._auth.lambda_token is not None and token == self._auth.lambda_token:
            return Identity("lambda")
        return self._jwt(token)

    def _api_key(self, key: str) -> Identity:
        if key not in self._auth.api_keys:
            raise unauthorized()
        return Identity("api-key")

    def _jwt(self, token: str) -> Identity:
        try:
            claims = self._issuer.check(bearer(token), "id", "access")
        except TokenError as error:
            raise unauthorized(str(error)) from error
        return Identity("jwt", claims["sub"])

    def _iam(self, credentials: Mapping[str, str], call: Call) -> Identity:
        body = call.body
        if self._auth.html_escapes_signed_body and call.rebuilt:
            body = body.replace(b"&", rb"\u0026").replace(b"<", rb"\u003c").replace(b">", rb"\u003e")
        sigv4.verify(credentials, path=call.path, body=body, secret_of=self._auth.iam_keys.get)
        return Identity("iam")


def bearer(token: str) -> str:
    """Return a token without the ``Bearer`` that clients may or may not put before it."""
    return token[7:] if token[:7].lower() == "bearer " else token


def normalized(value: object) -> dict[str, str]:
    """Return an authorization object with lower-case names; raises ApiError if it is none."""
    if not isinstance(value, dict):
        raise unauthorized()
    return {str(name).lower(): text for name, text in value.items() if isinstance(text, str)}


def decode_object(encoded: str) -> dict[str, str]:
    """Read base64 (either alphabet, padded or not) of a JSON object; raises ApiError."""
    # A `+` that was put into a query unescaped has become a space on the way.
    text = encoded.replace(" ", "+").replace("+", "-").replace("/", "_").rstrip("=")
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return normalized(msgspec.json.decode(raw))
    except (binascii.Error, ValueError, msgspec.DecodeError) as error:
        raise bad_request("The authorization header is not base64 of a JSON object.") from error


def of_upgrade(headers: Mapping[str, str], query: Mapping[str, str], subprotocols: list[str]) -> dict[str, str] | None:
    """Return the authorization object of an upgrade by whichever carrier it came, or None; raises ApiError."""
    for subprotocol in subprotocols:
        if subprotocol.startswith("header-"):
            return decode_object(subprotocol.removeprefix("header-"))
    if "header" in query:
        return decode_object(query["header"])
    if not CREDENTIALS.isdisjoint(headers):
        return dict(headers)
    return None
