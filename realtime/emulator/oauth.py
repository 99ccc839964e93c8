"""The issuer's addresses: discovery, keys, tokens, sign-in page, revocation, user information.

OpenID Connect Core 1.0, RFC 6749 (grants), RFC 7009 (revocation), RFC 7636 (PKCE, S256 only). Any client id is taken.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlencode

import msgspec

from realtime.emulator.auth import bearer
from realtime.emulator.faults import Faults
from realtime.emulator.http import Request, Response, Router, json_response
from realtime.emulator.issuer import DEFAULT_CLIENT, Grant, Issuer, TokenError
from realtime.emulator.options import PASSWORD
from realtime.emulator.world import Person, World

CODE_SECONDS = 60.0
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sign in - emulated issuer</title>
<main><h1>Sign in</h1><p>The local AppSync emulator's own accounts. {message}</p>
<form method="post">{hidden}
<p><label>Username <input name="username" autocomplete="username" required></label></p>
<p><label>Password <input name="password" type="password" autocomplete="current-password" required></label></p>
<p><button>Sign in</button></p></form></main></html>
"""
CARRIED = ("response_type", "client_id", "redirect_uri", "scope", "state", "nonce", "code_challenge")


class OAuthError(Exception):
    """A refusal in OAuth's words (RFC 6749, 5.2)."""

    def __init__(self, error: str, description: str, status: int = 400) -> None:
        super().__init__(error, description)
        self.response = json_response({"error": error, "error_description": description}, status)


@dataclass(frozen=True, slots=True)
class Code:
    """What an authorization code stands for."""

    person: Person
    asked: dict[str, str]
    until: float


class OAuth:
    """Adds its addresses to a router. ``account`` access is by the world's people, all with the same password."""

    def __init__(
        self,
        issuer: Issuer,
        world: World,
        faults: Faults,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._issuer = issuer
        self._world = world
        self._faults = faults
        self._monotonic = monotonic
        self._codes: dict[str, Code] = {}

    def mount(self, router: Router) -> None:
        router.add("GET", "/.well-known/openid-configuration", self.configuration)
        router.add("GET", "/.well-known/jwks.json", lambda _: json_response(self._issuer.jwks()))
        router.add("GET", "/oauth/authorize", self.sign_in_page)
        router.add("POST", "/oauth/authorize", self.sign_in)
        router.add("POST", "/oauth/token", self.token)
        router.add("POST", "/oauth/revoke", self.revoke)
        router.add("GET", "/oauth/userinfo", self.user_information)

    def configuration(self, request: Request) -> Response:
        url = self._issuer.url
        return json_response(
            {
                "issuer": url,
                "authorization_endpoint": f"{url}/oauth/authorize",
                "token_endpoint": f"{url}/oauth/token",
                "revocation_endpoint": f"{url}/oauth/revoke",
                "userinfo_endpoint": f"{url}/oauth/userinfo",
                "jwks_uri": f"{url}/.well-known/jwks.json",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "password", "refresh_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid", "profile"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["none", "client_secret_basic", "client_secret_post"],
            }
        )

    def token(self, request: Request) -> Response:
        """Answer a grant (form), or give tokens for ``{"sub": …}`` (JSON, with an optional ``ttl`` in seconds)."""
        if fault := self._faults.match("issuer-down"):
            return json_response({"error": "temporarily_unavailable"}, fault.status)
        slow = self._faults.match("slow-http")
        try:
            grant = self._by_json(request) if _is_json(request) else self._by_form(request)
        except OAuthError as error:
            return error.response
        body = msgspec.json.encode(grant.as_dict())
        return Response(
            body=body, headers={"cache-control": "no-store"}, delay=0.0 if slow is None else slow.delay / 1000
        )

    def revoke(self, request: Request) -> Response:
        """End the session of a token of any kind; an unknown token is no error (RFC 7009, 2.2)."""
        if fault := self._faults.match("issuer-down"):
            return json_response({"error": "temporarily_unavailable"}, fault.status)
        session = self._issuer.session_of(request.form().get("token", ""))
        if session is not None:
            self._issuer.revoke_session(session)
        return Response()

    def user_information(self, request: Request) -> Response:
        try:
            claims = self._issuer.check(bearer(request.headers.get("authorization", "")), "access")
        except TokenError as error:
            return json_response({"error": "invalid_token", "error_description": str(error)}, 401)
        return json_response({"sub": claims["sub"], "preferred_username": claims["username"]})

    def sign_in_page(self, request: Request) -> Response:
        return _page(request.query)

    def sign_in(self, request: Request) -> Response:
        """Check the form and send the browser back with a code."""
        form = request.form()
        asked = {name: form.get(name, request.query.get(name, "")) for name in CARRIED}
        person = self._check_password(form.get("username", ""), form.get("password", ""))
        if person is None:
            return _page(asked, "That is not an account of this emulator.", 401)
        if asked["response_type"] != "code" or not asked["redirect_uri"].startswith(("http://", "https://")):
            return _page(asked, "The request is no code flow with an http(s) redirect_uri.", 400)
        code = secrets.token_urlsafe(16)
        self._codes[code] = Code(person, asked, self._monotonic() + CODE_SECONDS)
        answer = {"code": code} | ({"state": asked["state"]} if asked["state"] else {})
        separator = "&" if "?" in asked["redirect_uri"] else "?"
        return Response(302, headers={"location": asked["redirect_uri"] + separator + urlencode(answer)})

    # Grants

    def _by_json(self, request: Request) -> Grant:
        try:
            asked: Any = msgspec.json.decode(request.body)
        except msgspec.DecodeError as error:
            raise OAuthError("invalid_request", f"the body is not JSON: {error}") from error
        if not isinstance(asked, dict) or not isinstance(asked.get("sub"), str):
            raise OAuthError("invalid_request", "give a JSON object with a `sub`")
        person = self._world.people.get(asked["sub"])
        ttl = asked.get("ttl")
        return self._issuer.grant(
            asked["sub"],
            username=None if person is None else person.username,
            ttl=ttl if isinstance(ttl, int) else None,
        )

    def _by_form(self, request: Request) -> Grant:
        form = request.form()
        client = form.get("client_id") or _basic_client(request) or DEFAULT_CLIENT
        match form.get("grant_type"):
            case "password":
                return self._password_grant(form, client)
            case "refresh_token":
                return self._refresh_grant(form)
            case "authorization_code":
                return self._code_grant(form, client)
        raise OAuthError("unsupported_grant_type", "use password, refresh_token or authorization_code")

    def _password_grant(self, form: dict[str, str], client: str) -> Grant:
        person = self._check_password(form.get("username", ""), form.get("password", ""))
        if person is None:
            raise OAuthError("invalid_grant", "that is not an account of this emulator")
        return self._issuer.grant(person.sub, username=person.username, client=client)

    def _refresh_grant(self, form: dict[str, str]) -> Grant:
        try:
            return self._issuer.refresh(form.get("refresh_token", ""))
        except TokenError as error:
            raise OAuthError("invalid_grant", str(error)) from error

    def _code_grant(self, form: dict[str, str], client: str) -> Grant:
        code = self._codes.pop(form.get("code", ""), None)
        if code is None or code.until <= self._monotonic():
            raise OAuthError("invalid_grant", "the code is unknown, used or expired")
        if form.get("redirect_uri", "") != code.asked["redirect_uri"] or client != code.asked["client_id"]:
            raise OAuthError("invalid_grant", "redirect_uri or client_id differs from the authorization request")
        if code.asked["code_challenge"] and not _pkce(form.get("code_verifier", ""), code.asked["code_challenge"]):
            raise OAuthError("invalid_grant", "code_verifier does not match the challenge")
        return self._issuer.grant(
            code.person.sub, username=code.person.username, client=client, nonce=code.asked["nonce"] or None
        )

    def _check_password(self, username: str, password: str) -> Person | None:
        person = self._world.account(username)
        return person if person is not None and hmac.compare_digest(password.encode(), PASSWORD.encode()) else None


def _is_json(request: Request) -> bool:
    return request.headers.get("content-type", "").startswith("application/json")


def _basic_client(request: Request) -> str | None:
    scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        return unquote(base64.b64decode(encoded).decode().partition(":")[0])
    except ValueError as error:
        raise OAuthError("invalid_client", "the Basic credentials are not base64", 401) from error


def _pkce(verifier: str, challenge: str) -> bool:
    digest = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return hmac.compare_digest(digest, challenge)


def _page(asked: dict[str, str], message: str = "", status: int = 200) -> Response:
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{html.escape(asked.get(name, ""))}">' for name in CARRIED
    )
    text = PAGE.format(message=html.escape(message), hidden=hidden)
    return Response(status, text.encode(), "text/html; charset=utf-8")
