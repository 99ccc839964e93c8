"""Where an API is: from one address to all that its dialect needs.

Standard domains have one host for HTTP and another for WebSockets, ``…appsync-api…`` and ``…appsync-realtime-api…``;
a custom domain serves both, and so does anything else, such as a local server. The host in authorization objects is
always the HTTP one. https://docs.aws.amazon.com/appsync/latest/eventapi/event-api-websocket-protocol.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Literal
from urllib.parse import SplitResult, urlsplit, urlunsplit

from realtime.appsync.exceptions import BadEndpoint

Dialect = Literal["events", "graphql"]

STANDARD_HOST = re.compile(
    r"(?P<id>\w{26})\.appsync-(?P<kind>api|realtime-api)\.(?P<region>[a-z]{2}(?:-[a-z]+)+-\d)"
    r"\.amazonaws\.com(?P<china>\.cn)?"
)
PATHS: dict[Dialect, str] = {"events": "/event", "graphql": "/graphql"}
SECURE = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An API's addresses. ``host`` is what goes into authorization objects, ``region`` is none off AWS domains."""

    dialect: Dialect
    http_url: str
    realtime_url: str
    host: str
    region: str | None

    @property
    def plaintext(self) -> bool:
        """Whether anything would travel in the clear."""
        return self.http_url.startswith("http:") or self.realtime_url.startswith("ws:")

    @property
    def loopback(self) -> bool:
        """Whether both addresses are on this machine."""
        return all(_is_loopback(urlsplit(url).hostname) for url in (self.http_url, self.realtime_url))


def derive(url: str, *, dialect: Dialect = "events", realtime_url: str = "") -> Endpoint:
    """Return the endpoint for an HTTP (or realtime) address of an API; ``realtime_url`` overrides the derived one.

    Raises BadEndpoint if the address is no HTTP or WebSocket URL with an ASCII host, or its path isn't the dialect's.
    """
    parts = _split(url)
    standard = STANDARD_HOST.fullmatch(parts.hostname or "")
    path = _path(parts, dialect)
    secure = SECURE[parts.scheme] == "wss"
    host = realtime_host = parts.netloc.rpartition("@")[2].lower()
    if standard:
        host = host.replace(".appsync-realtime-api.", ".appsync-api.")
        realtime_host = host.replace(".appsync-api.", ".appsync-realtime-api.")
    realtime_path = path if standard and dialect == "graphql" else f"{path}/realtime"
    return Endpoint(
        dialect=dialect,
        http_url=urlunsplit(("https" if secure else "http", host, path, "", "")),
        realtime_url=realtime_url or urlunsplit(("wss" if secure else "ws", realtime_host, realtime_path, "", "")),
        host=host,
        region=standard["region"] if standard else None,
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        known = parts.scheme in SECURE and parts.hostname and parts.port != 0
    except ValueError:
        known = False
    if not known:
        raise BadEndpoint(f"{url!r} is not an http(s) address of an AppSync API")
    if not (parts.hostname or "").isascii():
        raise BadEndpoint(f"{url!r} names its host in letters that DNS does not know: give its ASCII form, xn--…")
    return parts


def _path(parts: SplitResult, dialect: Dialect) -> str:
    expected = PATHS[dialect]
    path = parts.path.rstrip("/").removesuffix("/realtime")
    if path not in ("", expected):
        raise BadEndpoint(f"{parts.geturl()!r} has the path {parts.path!r}; an {dialect} API is at {expected!r}")
    return expected


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False
