"""What is asked over HTTP: tokens from an issuer, pages of a snapshot, a publish. The one door to httpx."""

from __future__ import annotations

import ssl
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import urljoin

import httpx
import msgspec

from realtime.appsync.exceptions import NotSent, OutcomeUnknown
from realtime.appsync.messages import UNREADABLE
from realtime.upstream.credentials import TokenRefused, Tokens, TokenUnavailable
from realtime.upstream.policy import retry_after

TIMEOUT = httpx.Timeout(10.0)

SHOWN = 300
"""Bytes of an answer that go into an error's text."""

JSON_CONTENT = {"content-type": "application/json"}

NEVER_WRITTEN = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
"""Failures before the first byte of a request."""

FINAL_GRANT_ERRORS = ("invalid_grant", "invalid_client", "unauthorized_client")
"""OAuth errors (RFC 6749, 5.2) that another try with the same input can't mend."""


class HttpError(Exception):
    """A request that failed; ``status`` is none when there was no answer."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class _TokenAnswer(msgspec.Struct):
    access_token: str
    expires_in: float
    id_token: str = ""
    refresh_token: str = ""


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """An OAuth token endpoint. A client id and secret are sent as form fields, as public clients do too."""

    url: str
    client_id: str
    client_secret: str = field(repr=False, default="")

    def password(self, username: str, password: str) -> Tokens:
        """Return tokens for a local account's name and password, synchronously: it is part of a sign-in request.

        Raises TokenRefused or TokenUnavailable.
        """
        form = self._form("password", username=username, password=password, scope="openid offline_access")
        try:
            return _tokens(httpx.post(self.url, data=form, timeout=TIMEOUT, trust_env=False, verify=usual_tls()))
        except httpx.HTTPError as error:
            raise _unreachable(error) from None

    async def refresh(self, refresh_token: str) -> Tokens:
        """As upstream.credentials.Issuer.refresh."""
        form = self._form("refresh_token", refresh_token=refresh_token)
        try:
            async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=usual_tls()) as client:
                return _tokens(await client.post(self.url, data=form))
        except httpx.HTTPError as error:
            raise _unreachable(error) from None

    def _form(self, grant: str, **fields: str) -> dict[str, str]:
        form = {"grant_type": grant, "client_id": self.client_id, **fields}
        return form | ({"client_secret": self.client_secret} if self.client_secret else {})


async def pages(url: str, headers: Mapping[str, str]) -> AsyncIterator[bytes]:
    """Give the bodies of a paged resource, following ``next`` until a page has none; raises HttpError."""
    following: str | None = url
    async with httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=usual_tls(), headers=dict(headers)) as client:
        while following:
            try:
                response = await client.get(following)
            except httpx.HTTPError as error:
                raise HttpError(f"no answer ({_name(error)})") from None
            if response.status_code != 200:
                raise HttpError(f"HTTP {response.status_code}: {response.text[:200]}", response.status_code)
            yield response.content
            following = _next(url, response)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a POST was answered; ``error_type`` is how AWS names an error in a header, ``retry_after`` is in seconds."""

    status: int
    body: bytes = b""
    error_type: str | None = None
    retry_after: float = 0.0

    @property
    def text(self) -> str:
        """The beginning of the body, for people."""
        return self.body[:SHOWN].decode(errors="replace").strip()


class Client:
    """POSTs to one service, on connections that are kept for the next request."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._client = httpx.AsyncClient(timeout=TIMEOUT, trust_env=False, verify=tls)

    async def post(self, url: str, headers: Mapping[str, str], body: str) -> Answer:
        """Send a JSON text and return the answer, whatever its status.

        Raises NotSent if nothing was written, OutcomeUnknown if it may have been and no answer came.
        """
        try:
            response = await self._client.post(url, content=body.encode(), headers={**JSON_CONTENT, **headers})
        except NEVER_WRITTEN as error:
            raise NotSent(_name(error)) from None
        except httpx.HTTPError as error:
            raise OutcomeUnknown(f"no answer ({_name(error)})") from None
        return Answer(
            response.status_code,
            response.content,
            response.headers.get("x-amzn-errortype"),
            retry_after(response.headers.get("retry-after")),
        )

    async def close(self) -> None:
        await self._client.aclose()


@cache
def usual_tls() -> ssl.SSLContext:
    """The usual certificates, read once: that takes 20 ms and .8 MB, more than all the rest of a link."""
    return httpx.create_ssl_context(trust_env=False)


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(response.content, type=dict[str, Any])
    except UNREADABLE as error:
        raise HttpError(f"the answer is not a JSON object: {error}") from None


def _next(url: str, response: httpx.Response) -> str | None:
    """Return the address of the next page. The token goes with it, so it must be of the same origin."""
    following = _object(response).get("next")
    if not following:
        return None
    if "/" not in str(following):
        return str(httpx.URL(url).copy_merge_params({"next": following}))
    try:
        address = urljoin(url, str(following))
        same = _origin(address) == _origin(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise HttpError(f"its next page has no address: {error}") from None
    if not same:
        raise HttpError("its next page is on another host, port or scheme: not followed")
    return address


def _origin(address: str) -> tuple[str, str, int | None]:
    url = httpx.URL(address)
    return url.scheme, url.host, url.port


def _tokens(response: httpx.Response) -> Tokens:
    if response.status_code != 200:
        raise _refusal(response)
    try:
        answer = msgspec.json.decode(response.content, type=_TokenAnswer)
    except UNREADABLE as error:
        raise TokenUnavailable(f"the issuer's answer could not be read: {error}") from None
    now = time.time()
    return Tokens(
        answer.id_token or answer.access_token,
        answer.access_token,
        answer.refresh_token,
        expires_at=now + answer.expires_in,
        issued_at=now,
    )


def _refusal(response: httpx.Response) -> Exception:
    try:
        body = response.json()
        error, text = str(body.get("error", "")), str(body.get("error_description", ""))
    except (ValueError, AttributeError, RecursionError):
        error, text = "", ""
    said = f"HTTP {response.status_code} {error} {text}".strip()
    return TokenRefused(said) if error in FINAL_GRANT_ERRORS else TokenUnavailable(f"the issuer answered {said}")


def _unreachable(error: httpx.HTTPError) -> TokenUnavailable:
    return TokenUnavailable(f"the issuer can't be reached ({_name(error)})")


def _name(error: Exception) -> str:
    return str(error) or type(error).__name__
