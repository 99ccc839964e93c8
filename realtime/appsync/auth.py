"""Authorization objects: the headers that say who asks, at the upgrade and in each operation.

An object is made fresh for each use, because tokens expire and signatures age. Their text never shows a secret.
https://docs.aws.amazon.com/appsync/latest/eventapi/configure-event-api-auth.html
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Protocol

import msgspec


class Authorization(Protocol):
    """One way to authorise. ``signed`` is the text that a signing mode has to cover; the others ignore it."""

    def headers(self, host: str, signed: str) -> dict[str, str]:
        """Return the authorization object for an operation on the API whose HTTP host is ``host``."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    key: str = field(repr=False)

    def headers(self, host: str, signed: str) -> dict[str, str]:
        return {"host": host, "x-api-key": self.key}


@dataclass(frozen=True, slots=True)
class Token:
    """A user-pool or OIDC JWT, or what a Lambda authorizer is to get; sent as it is, as AWS's own clients do."""

    token: str = field(repr=False)

    def headers(self, host: str, signed: str) -> dict[str, str]:
        return {"host": host, "Authorization": self.token}


def subprotocol(headers: dict[str, str]) -> str:
    """Return the WebSocket subprotocol that carries an authorization object: base64url without padding."""
    return "header-" + urlsafe_b64encode(msgspec.json.encode(headers)).decode().rstrip("=")
