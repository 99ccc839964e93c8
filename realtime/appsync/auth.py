"""Authorization objects: the headers that say who asks, at the upgrade and in each operation.

An object is made fresh for each use, because tokens expire and signatures age. Their text never shows a secret.
https://docs.aws.amazon.com/appsync/latest/eventapi/configure-event-api-auth.html
"""

from __future__ import annotations

import logging
from base64 import b64encode, urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

# botocore's signer says what it signs, the session token among it. A filter stays when a configuration of logging
# resets levels.
logging.getLogger("botocore.auth").addFilter(lambda record: record.levelno >= logging.INFO)

CONNECT_BODY = "{}"
"""What a signing mode signs for an upgrade."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be authorised: a POST of ``body`` to ``path`` on the API's HTTP host.

    A frame on a socket is signed as if it were that request.
    """

    host: str
    path: str
    body: str = field(repr=False)


class Authorization(Protocol):
    """One way to authorise."""

    def headers(self, request: Request) -> dict[str, str]:
        """Return the authorization object for a request; only a signing mode looks at more than its host."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    key: str = field(repr=False)

    def headers(self, request: Request) -> dict[str, str]:
        return {"host": request.host, "x-api-key": self.key}


@dataclass(frozen=True, slots=True)
class Token:
    """A user-pool or OIDC JWT, or what a Lambda authorizer is to get; sent as it is, as AWS's own clients do."""

    token: str = field(repr=False)

    def headers(self, request: Request) -> dict[str, str]:
        return {"host": request.host, "Authorization": self.token}


@dataclass(frozen=True, slots=True)
class Iam:
    """AWS credentials, with a session token if they are temporary. Each request is signed anew (Signature V4)."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    region: str
    session_token: str | None = field(repr=False, default=None)

    def headers(self, request: Request) -> dict[str, str]:
        # Imported here: it takes over a second, and only this mode needs it.
        from botocore.auth import SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        credentials = Credentials(self.access_key_id, self.secret_access_key, self.session_token)
        signed = AWSRequest(
            "POST",
            f"https://{request.host}{request.path}",
            data=request.body,
            headers={
                "accept": "application/json, text/javascript",
                "content-encoding": "amz-1.0",
                "content-type": "application/json; charset=UTF-8",
                "host": request.host,
            },
        )
        SigV4Auth(credentials, "appsync", self.region).add_auth(signed)
        return {str(name): str(value) for name, value in signed.headers.items()}


def without_host(headers: dict[str, str]) -> dict[str, str]:
    """Return an authorization object as the headers of an HTTP request, which names its host by itself."""
    return {name: value for name, value in headers.items() if name.lower() != "host"}


def subprotocol(headers: dict[str, str]) -> str:
    """Return the WebSocket subprotocol that carries an authorization object: base64url without padding."""
    return "header-" + urlsafe_b64encode(msgspec.json.encode(headers)).decode().rstrip("=")


def query(headers: dict[str, str]) -> dict[str, str]:
    """Return the query parameters that carry an authorization object, as the GraphQL dialect knows them."""
    return {"header": b64encode(msgspec.json.encode(headers)).decode(), "payload": b64encode(b"{}").decode()}
