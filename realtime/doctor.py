"""Questions to everything that Fleetlight stands on, each answered with a finding and, if it is bad, a remedy.

Nothing is changed anywhere: a subscription is made and given up, a snapshot is asked for, no event is published.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

import httpx
import msgspec
from django.core import checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime import credentials
from realtime.appsync.auth import Authorization
from realtime.appsync.endpoint import Endpoint
from realtime.appsync.events_session import EventsSession
from realtime.appsync.session import Accepted, Rejected, SubscriptionChanged
from realtime.appsync.states import SubscriptionState
from realtime.clock import now_us
from realtime.models import BUCKETS, WORKER_SILENT_AFTER, Lease, Worker
from realtime.snapshot import SnapshotProvider, SnapshotUnavailable
from realtime.upstream.transport import Socket, Transport, TransportError

Verdict = Literal["ok", "warning", "failed", "skipped"]

SKEW = 300.0
"""Seconds of clock difference beyond which AWS refuses signatures; a token's times are hurt sooner."""

EXPIRES_SOON = 14 * 86_400
PATIENCE = 15.0


class Finding(msgspec.Struct, frozen=True):
    """One answer: what was asked, how it is, what was seen, and what to do if it is not well."""

    check: str
    verdict: Verdict
    seen: str
    remedy: str = ""


Check = Callable[[], Awaitable[Finding]]


def settings_findings() -> Iterator[Finding]:
    """Give what the system checks say; they look at settings alone."""
    messages = checks.run_checks(include_deployment_checks=False)
    for message in messages:
        verdict: Verdict = "failed" if message.is_serious() else "warning"
        yield Finding("settings", verdict, f"{message.id} {message.msg}", message.hint or "")
    if not messages:
        yield Finding("settings", "ok", "the system checks find nothing")


def database_finding() -> Finding:
    """Tell whether the database answers and has every migration."""
    remedy = "check DATABASE_URL, and that the server runs"
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError as error:
        return Finding("database", "failed", str(error), remedy)
    if missing:
        return Finding("database", "failed", f"{len(missing)} migrations are not applied", "run `manage.py migrate`")
    return Finding("database", "ok", f"{connection.vendor}, every migration applied")


def tokens_finding() -> Finding:
    """Tell which keys the stored tokens still need."""
    try:
        seals = credentials.seals()
    except DatabaseError as error:
        return Finding("tokens", "skipped", str(error))
    if seals["lost"]:
        seen = f"{seals['lost']} of {seals.total()} users' tokens were sealed with a key that TOKEN_KEY does not hold"
        return Finding("tokens", "warning", seen, "put that key back behind the newest, or have them sign in again")
    if seals["older"]:
        seen = f"{seals['older']} of {seals.total()} users' tokens still need an older TOKEN_KEY"
        return Finding("tokens", "warning", seen, "run `manage.py retention`, ask again, then drop the older key")
    return Finding("tokens", "ok", f"all {seals.total()} are sealed with the newest TOKEN_KEY")


def worker_finding() -> Finding:
    """Tell whether workers show that they live, and own every link between them."""
    try:
        workers = list(Worker.objects.filter(stopped=False).order_by("-beat"))
        held = Counter(Lease.objects.values_list("owner", flat=True))
    except DatabaseError as error:
        return Finding("worker", "skipped", str(error))
    if not workers:
        return Finding("worker", "failed", "no worker has run here", "start one: `manage.py upstream`")
    silent = now_us() - workers[0].beat
    if silent > WORKER_SILENT_AFTER:
        seen = f"{workers[0].name} has been silent for {silent / 1e6:.0f} s"
        return Finding("worker", "failed", seen, "look at its log; restart it")
    living = sorted(row.name for row in workers if now_us() - row.beat <= WORKER_SILENT_AFTER)
    owned = sum(held[name] for name in living)
    if owned < BUCKETS:
        remedy = "they are taken over within 10 s: ask again; if it stays so, look at the workers' logs"
        return Finding("worker", "warning", f"{BUCKETS - owned} of {BUCKETS} buckets of links have no owner", remedy)
    shares = ", ".join(f"{name} {held[name]}" for name in living)
    return Finding("worker", "ok", f"alive, with the buckets that each owns: {shares}")


async def valkey_finding(redis: Redis) -> Finding:
    """Tell whether Valkey answers and keeps what it is given."""
    try:
        async with asyncio.timeout(PATIENCE):
            info = await redis.info("memory")
    except (RedisError, OSError, TimeoutError) as error:
        return Finding("valkey", "failed", str(error) or "no answer", "check REDIS_URL, and that the server runs")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        remedy = "set maxmemory-policy noeviction: an evicted stream costs a refill, an evicted demand suspends links"
        return Finding("valkey", "warning", f"maxmemory-policy is {policy}", remedy)
    return Finding("valkey", "ok", f"answers, {info.get('used_memory_human', '?')} in use, nothing is evicted")


async def name_finding(url: str) -> Finding:
    """Tell whether a host's name resolves."""
    host = urlsplit(url).hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        return Finding(
            f"dns {host}", "failed", error.strerror or str(error), "check the address in the settings, and DNS"
        )
    return Finding(f"dns {host}", "ok", ", ".join(sorted({str(row[4][0]) for row in found})))


async def tls_finding(url: str, context: ssl.SSLContext) -> Finding:
    """Tell whether a host's certificate is trusted, and how long it lasts."""
    parts = urlsplit(url)
    check = f"tls {parts.hostname}"
    if parts.scheme not in ("https", "wss"):
        return Finding(check, "skipped", f"{parts.scheme} is not encrypted")
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(parts.hostname, parts.port or 443, ssl=context)
    except (OSError, TimeoutError) as error:
        remedy = "check the host, the proxy between, and APPSYNC_CA_FILE if it is set"
        return Finding(check, "failed", str(error) or "no answer", remedy)
    certificate = writer.get_extra_info("peercert") or {}
    writer.close()
    left = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time() if "notAfter" in certificate else 0.0
    verdict: Verdict = "ok" if left > EXPIRES_SOON else "warning"
    return Finding(check, verdict, f"trusted for {left / 86_400:.0f} more days")


async def clock_finding(url: str) -> Finding:
    """Compare this machine's clock with the one that the API's answers carry."""
    try:
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False) as client:
            response = await client.get(url)
        theirs = parsedate_to_datetime(response.headers["date"])
    except httpx.HTTPError as error:
        return Finding("clock", "skipped", f"no answer from {url}: {error}")
    except (KeyError, ValueError):
        return Finding("clock", "skipped", "the API's answer has no date")
    skew = (datetime.now(UTC) - theirs).total_seconds()
    if abs(skew) > SKEW:
        return Finding("clock", "failed", f"differs from the API's by {skew:.0f} s", "set this machine's clock (NTP)")
    verdict: Verdict = "ok" if abs(skew) < 30 else "warning"
    return Finding("clock", verdict, f"within {abs(skew):.0f} s of the API's")


async def snapshot_finding(provider: SnapshotProvider, subject: str, authorization: Authorization) -> Finding:
    """Ask for a user's snapshot."""
    try:
        snapshot = await provider.fetch(subject, authorization)
    except SnapshotUnavailable as error:
        return Finding("snapshot", "failed", str(error), "check SNAPSHOT_URL, and that it takes the token")
    seen = f"{len(snapshot.devices)} devices, {len(snapshot.archives)} archives, as of {snapshot.as_of:%H:%M:%S} UTC"
    return Finding("snapshot", "ok", seen)


async def upstream_findings(
    endpoint: Endpoint, transport: Transport, authorization: Authorization, channel: str
) -> list[Finding]:
    """Connect, be accepted, subscribe, give up: each step is a finding, the first that fails is the last."""
    session = EventsSession(endpoint)
    try:
        async with asyncio.timeout(PATIENCE):
            socket_ = await transport.open(session.opening(authorization))
            try:
                return await _greet_and_subscribe(session, socket_, authorization, channel)
            finally:
                await socket_.close()
    except TransportError as error:
        remedy = "check APPSYNC_EVENTS_URL, and whether a proxy on the way lets WebSockets pass"
        if error.status in (401, 403):
            remedy = "check APPSYNC_AUTH and the credentials; the host in them must be the API's HTTP host"
        return [Finding("connect", "failed", str(error), remedy)]
    except TimeoutError:
        return [Finding("connect", "failed", f"no answer within {PATIENCE:.0f} s", "look for a firewall on the way")]


async def _greet_and_subscribe(
    session: EventsSession, socket_: Socket, authorization: Authorization, channel: str
) -> list[Finding]:
    findings = [Finding("connect", "ok", "the socket is open")]
    session.opened()
    await _send(session, socket_)
    async for text in socket_:
        session.receive(text, time.monotonic())
        for event in session.events_received():
            if isinstance(event, Accepted):
                findings.append(Finding("auth", "ok", f"accepted; silence may last {event.timeout:.0f} s"))
                session.subscribe(channel, authorization, time.monotonic())
            elif isinstance(event, Rejected):
                remedy = "check the key or sign in again; APPSYNC_TOKEN_USE says which of a user's tokens is sent"
                return [*findings, Finding("auth", "failed", str(event.error), remedy)]
            elif isinstance(event, SubscriptionChanged):
                return [*findings, _subscribed(event)]
        await _send(session, socket_)
    return findings


def _subscribed(event: SubscriptionChanged) -> Finding:
    if event.state is SubscriptionState.LIVE:
        return Finding("subscribe", "ok", f"{event.target} is live")
    remedy = "check APPSYNC_CHANNEL_ROOT, that its namespace exists, and what its authorizer compares"
    return Finding("subscribe", "failed", f"{event.target}: {event.error}", remedy)


async def _send(session: EventsSession, socket_: Socket) -> None:
    for text in session.data_to_send():
        await socket_.send(text)
