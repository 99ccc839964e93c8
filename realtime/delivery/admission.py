"""Who are you, and may you come in: one answer for all doors.

The sign-in is Django's own: the session cookie, the session's row, the user and the hash that ties them together, which
changes with the password and with whatever ends all of a user's sessions. Waiting sign-ins are answered together with
two queries.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from importlib import import_module
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY, get_user_model
from django.db import DatabaseError
from django.http.request import split_domain_port, validate_host
from django.utils import timezone
from django.utils.crypto import constant_time_compare

from realtime.database import DatabaseThread
from realtime.delivery import envelope
from realtime.delivery.batch import Batch
from realtime.delivery.envelope import Fault

Scope = Mapping[str, Any]

_SESSION_KEY = re.compile(r"[A-Za-z0-9]{1,40}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who was let in: the user, and the sign-in session by which."""

    user: Any
    session_key: str


class NotAdmitted(Exception):
    """Nobody to let in; ``fault`` says why and what to do."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.code)
        self.fault = fault


class Admission:
    """The one judge of this process; ``database`` is the thread its two queries run in."""

    def __init__(self, database: DatabaseThread) -> None:
        self._database = database
        self._signed_in: Batch[str, Visitor | Fault] = Batch(self._look)

    async def admit(self, scope: Scope, *, shows_origin: bool) -> Visitor:
        """Return who asks to come in; raises NotAdmitted.

        ``shows_origin`` at a door that changes something, and at a socket, which any site's page may open.
        """
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        if not _answers_for(headers.get(b"host", "")):
            raise NotAdmitted(envelope.BAD_HOST)
        if not _same_site(headers, shows_origin=shows_origin):
            raise NotAdmitted(envelope.BAD_ORIGIN)
        return await self._visitor(_session_key(headers.get(b"cookie", "")))

    async def confirm(self, visitor: Visitor) -> Visitor:
        """Return the visitor as the database has it now; raises NotAdmitted when the sign-in has ended."""
        return await self._visitor(visitor.session_key)

    async def _visitor(self, session_key: str) -> Visitor:
        if not session_key:
            raise NotAdmitted(envelope.NOT_SIGNED_IN)
        try:
            found = await self._signed_in.ask(session_key)
        except DatabaseError as exc:
            raise NotAdmitted(envelope.UNAVAILABLE) from exc
        if not isinstance(found, Visitor):
            raise NotAdmitted(found or envelope.NOT_SIGNED_IN)
        return found

    async def _look(self, session_keys: Sequence[str]) -> Mapping[str, Visitor | Fault]:
        return await self._database.run(visitors, session_keys)


def visitors(session_keys: Sequence[str]) -> dict[str, Visitor | Fault]:
    """Return who is signed in by these sessions, in two queries; a session that is not valid is left out."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    model = store.get_model_class()
    rows = model.objects.filter(session_key__in=session_keys, expire_date__gt=timezone.now())
    keys = {model._meta.pk.get_prep_value(key): key for key in session_keys}  # what is stored may be no key
    sessions = {keys[row.session_key]: store().decode(row.session_data) for row in rows}
    users = _users(session.get(SESSION_KEY) for session in sessions.values())
    found: dict[str, Visitor | Fault] = {}
    for key, session in sessions.items():
        user = users.get(str(session.get(SESSION_KEY)))
        if user is None or not _is_valid(session, user):
            continue
        found[key] = Visitor(user, key) if user.is_active else envelope.ACCESS_ENDED
    return found


def _users(ids: Any) -> dict[str, Any]:
    model = get_user_model()
    wanted = {str(user_id) for user_id in ids if user_id is not None}
    return {str(user.pk): user for user in model._default_manager.filter(pk__in=wanted)} if wanted else {}


def _is_valid(session: Mapping[str, Any], user: Any) -> bool:
    """Check the session's hash as django.contrib.auth.get_user does, the hashes of earlier secret keys included."""
    if session.get(BACKEND_SESSION_KEY) not in settings.AUTHENTICATION_BACKENDS:
        return False
    given = session.get(HASH_SESSION_KEY) or ""
    hashes = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    return any(constant_time_compare(given, known) for known in hashes)


def _session_key(cookie: str) -> str:
    """Return the session key in a cookie, or nothing: what Django can't have made never reaches the database.

    PostgreSQL refuses some texts, and with one of them everybody who waits for the same look would be refused.
    """
    try:
        morsel = SimpleCookie(cookie).get(settings.SESSION_COOKIE_NAME)
    except CookieError:
        return ""
    return morsel.value if morsel is not None and _SESSION_KEY.fullmatch(morsel.value) else ""


def _answers_for(host: str) -> bool:
    """Tell whether this site answers for the name in a Host header, as Django tells it for pages."""
    name, _ = split_domain_port(host)
    return bool(name) and validate_host(name, settings.ALLOWED_HOSTS)


def _same_site(headers: Mapping[bytes, str], *, shows_origin: bool) -> bool:
    """Tell whether the request comes from a page of this site, as far as its door demands to know.

    Browsers send no Origin with a same-origin GET, and Sec-Fetch-Site only over HTTPS and to loopback: where both are
    missing, another site could make the request but could not read the answer.
    """
    origin = headers.get(b"origin")
    if origin is not None:
        return _allowed(origin, headers.get(b"host", ""))
    if shows_origin:
        return False
    return headers.get(b"sec-fetch-site", "same-origin") in ("same-origin", "none")


def _allowed(origin: str, host: str) -> bool:
    try:
        asked = urlsplit(origin)
    except ValueError:
        return False
    return asked.netloc == host or any(_matches(asked, pattern) for pattern in settings.CSRF_TRUSTED_ORIGINS)


def _matches(asked: SplitResult, pattern: str) -> bool:
    """Compare with an entry of CSRF_TRUSTED_ORIGINS, which may be ``https://*.example.com``."""
    scheme, _, rest = pattern.partition("://")
    if rest.startswith("*."):
        return asked.scheme == scheme and asked.netloc.endswith(rest[1:])
    return (asked.scheme, asked.netloc) == (scheme, rest)
