"""Questions to everything that Fleetlight stands on, each answered with a finding and, if it is bad, a remedy.

Nothing is changed anywhere. Whether AppSync can be heard is `rehearsal`.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

import httpx
import msgspec
from django.core import checks
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime import credentials, gaps, sql
from realtime.appsync.auth import Authorization
from realtime.clock import brief, now_us
from realtime.models import BUCKETS, WORKER_SILENT_AFTER, Drift, Lease, UndecodablePayload, Worker
from realtime.snapshot import SnapshotProvider, SnapshotUnavailable

Verdict = Literal["ok", "warning", "failed", "skipped"]

SKEW = 300.0
"""Seconds of clock difference beyond which AWS refuses signatures; a token's times are hurt sooner."""

SET_CLOCK = "set this machine's clock (NTP)"

EXPIRES_SOON = 14 * 86_400
PATIENCE = 15.0


class Finding(msgspec.Struct, frozen=True):
    """One answer: what was asked, how it is, what was seen, and what to do if it is not well."""

    check: str
    verdict: Verdict
    seen: str
    remedy: str = ""


class Host(NamedTuple):
    """A host that has to be reached, whom its certificate may be from, and the settings that say so."""

    url: str
    tls: ssl.SSLContext
    settings: str

    @property
    def name(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 443

    @property
    def is_encrypted(self) -> bool:
        return urlsplit(self.url).scheme in ("https", "wss")


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


def database_clock_finding() -> Finding:
    """Compare this process's clock, as a worker on this machine has it, with the database's.

    A worker dates windows and the database dates recordings: where the worker is ahead, its windows are put back, and
    where it is behind they begin too early. So nothing is passed over, but what is shown of its times is off.
    """
    check, most = "database clock", gaps.MARGIN / 1e6
    try:
        before = now_us()
        theirs = sql.now_us()
    except DatabaseError as error:
        return Finding(check, "skipped", str(error))
    skew = ((before + now_us()) / 2 - theirs) / 1e6
    seen = f"this machine's is {abs(skew):.1f} s {'ahead of' if skew > 0 else 'behind'} the database's"
    if abs(skew) > most:
        return Finding(check, "warning", f"{seen}: what its workers date is off by as much", SET_CLOCK)
    return Finding(check, "ok", f"{seen}; ask on each worker's machine")


def payloads_finding() -> Finding:
    """Tell what was received and could not be read, or is not known here."""
    try:
        unread = UndecodablePayload.objects.order_by("-at").first()
        count, kinds = UndecodablePayload.objects.count(), Drift.objects.count()
    except DatabaseError as error:
        return Finding("payloads", "skipped", str(error))
    if unread is not None:
        seen = f"{count} could not be read, last at {brief(unread.at)} on {unread.feed}: {unread.error}"
        return Finding(
            "payloads", "warning", seen, "compare schemas: `manage.py schema check FILE`; see Payloads in admin"
        )
    if kinds:
        remedy = "compare schemas: `manage.py schema check FILE`; Drift in the admin has a sample of each"
        return Finding("payloads", "warning", f"{kinds} kinds of field or word that are not known here", remedy)
    return Finding("payloads", "ok", "all that is kept could be read, and is known here")


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


async def host_findings(hosts: Iterable[Host]) -> list[Finding]:
    """Tell of each host, once, whether its name resolves and its certificate is trusted."""
    names: dict[str, Host] = {}
    places: dict[tuple[str, int, ssl.SSLContext], Host] = {}
    for host in hosts:
        names.setdefault(host.name, host)
        places.setdefault((host.name, host.port, host.tls), host)
    resolved = [await _name_finding(host) for host in names.values()]
    return resolved + [await _tls_finding(host) for host in places.values()]


async def _name_finding(host: Host) -> Finding:
    check = f"dns {host.name}"
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host.name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return Finding(
            check, "failed", getattr(error, "strerror", None) or str(error), f"check {host.settings}, and DNS"
        )
    return Finding(check, "ok", ", ".join(sorted({str(row[4][0]) for row in found})))


async def _tls_finding(host: Host) -> Finding:
    check = f"tls {host.name}:{host.port}"
    if not host.is_encrypted:
        return Finding(check, "skipped", "nothing is encrypted there")
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host.name, host.port, ssl=host.tls)
    except (OSError, UnicodeError, TimeoutError) as error:
        remedy = f"check {host.settings}, and whether a proxy answers in its place"
        return Finding(check, "failed", str(error) or "no answer", remedy)
    certificate = writer.get_extra_info("peercert")
    writer.close()
    left = ssl.cert_time_to_seconds(certificate["notAfter"]) - time.time()
    seen = f"trusted for {left / 86_400:.0f} more days"
    return Finding(check, "ok", seen) if left > EXPIRES_SOON else Finding(check, "warning", seen, "have it renewed")


async def clock_finding(url: str, tls: ssl.SSLContext) -> Finding:
    """Compare this machine's clock with the one that the API's answers carry."""
    try:
        async with httpx.AsyncClient(timeout=PATIENCE, trust_env=False, verify=tls) as client:
            response = await client.get(url)
        theirs = parsedate_to_datetime(response.headers["date"])
    except httpx.HTTPError as error:
        return Finding("clock", "skipped", f"no answer from {url}: {error}")
    except (KeyError, ValueError):
        return Finding("clock", "skipped", "the API's answer has no date")
    skew = (datetime.now(UTC) - theirs).total_seconds()
    if abs(skew) > SKEW:
        return Finding("clock", "failed", f"differs from the API's by {skew:.0f} s", SET_CLOCK)
    seen = f"within {abs(skew):.0f} s of the API's"
    return Finding("clock", "ok", seen) if abs(skew) < 30 else Finding("clock", "warning", seen, SET_CLOCK)


async def snapshot_finding(provider: SnapshotProvider, subject: str, authorization: Authorization) -> Finding:
    """Ask for a user's snapshot."""
    try:
        snapshot = await provider.fetch(subject, authorization)
    except SnapshotUnavailable as error:
        return Finding("snapshot", "failed", str(error), "check SNAPSHOT_URL, and that it takes the token")
    seen = f"{len(snapshot.devices)} devices, {len(snapshot.archives)} archives, as of {snapshot.as_of:%H:%M:%S} UTC"
    return Finding("snapshot", "ok", seen)
