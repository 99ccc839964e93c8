"""`/healthz`, `/readyz` and `/metrics` as one small ASGI application, for the web process and for workers.

They stand before Django: a probe names no host that `ALLOWED_HOSTS` knows and needs none of Django's threads, which
may all be waiting for the very database that the probe asks about.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from realtime.health import Health

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Answer = tuple[int, str, bytes]

JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
# A proxy on this machine would make every visitor look like one from here.
FORWARDED = (b"x-forwarded-for", b"forwarded", b"x-real-ip")


class Probes:
    """Answers the probes of a process.

    Args:
        health: of this process.
        metrics_token: who sends it as `Authorization: Bearer …` may read the metrics from anywhere; without it
            only callers on this machine may.
    """

    paths = frozenset({"/healthz", "/readyz", "/metrics"})

    def __init__(self, health: Health, metrics_token: str = "") -> None:
        self._health = health
        self._metrics_token = metrics_token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        status, content_type, body = await self._answer(scope)
        headers = [
            (b"content-type", content_type.encode()),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})

    async def _answer(self, scope: Scope) -> Answer:
        if scope["method"] not in ("GET", "HEAD"):
            return 405, TEXT, b"Use GET.\n"
        match scope["path"]:
            case "/healthz":
                return 200, JSON, b'{"alive":true}'
            case "/readyz":
                problems = await self._health.problems()
                answer = {"ready": not problems, "problems": problems}
                return (503 if problems else 200), JSON, msgspec.json.encode(answer)
            case "/metrics" if self._may_read_metrics(scope):
                return 200, CONTENT_TYPE_LATEST, generate_latest()
            case "/metrics":
                return 403, TEXT, b"Ask from this machine, or send METRICS_TOKEN as a bearer token.\n"
        return 404, TEXT, b"There are /healthz, /readyz and /metrics here.\n"

    def _may_read_metrics(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        if self._metrics_token:
            expected = f"Bearer {self._metrics_token}".encode()
            return hmac.compare_digest(headers.get(b"authorization", b""), expected)
        client = scope.get("client")
        if client is None or any(name in headers for name in FORWARDED):
            return False
        return ipaddress.ip_address(client[0]).is_loopback
