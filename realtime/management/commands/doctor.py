"""``manage.py doctor``: is everything that this site stands on as it should be? If not, what to do."""

from __future__ import annotations

import asyncio
import secrets
import ssl
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from realtime import config, credentials, doctor, documents, feeds, product, rehearsal, snapshot, switches, valkey
from realtime.appsync.auth import Authorization, Token
from realtime.appsync.endpoint import Endpoint
from realtime.appsync.exceptions import BadEndpoint
from realtime.config import UpstreamConfig
from realtime.doctor import Finding, Host
from realtime.management import shown
from realtime.management.base import ExampleCommand
from realtime.models import Link
from realtime.rehearsal import Part
from realtime.upstream import endpoints, http
from realtime.upstream.credentials import Credentials, TokenRefused, TokenUnavailable
from realtime.upstream.transport import WebSocketTransport, tls_context

MARKS = {"ok": "ok      ", "warning": "warning ", "failed": "FAILED  ", "skipped": "skipped "}

NOBODY = "doctor"
"""The subject that is tried when no user is named."""

NO_ORGANIZATION = "organisation to subscribe to: name with --user somebody of whom one is recorded"


class Command(ExampleCommand):
    help = (
        "Check settings, stores, clocks, keys, worker, payloads, and of the upstream in the dialect that is in force "
        "names, TLS, sign-in, subscribing, a round trip and snapshot; a remedy for each."
    )
    requires_system_checks: list[str] = []  # they are findings
    examples = """\
  manage.py doctor
  manage.py doctor --user viewer       as this user, with the tokens of the last sign-in
  manage.py doctor --json"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--user", metavar="LINK", help="whose link to try: its id, subject or user name")
        parser.add_argument("--token", help="a JWT to try with, instead of the stored one")
        parser.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        failed = 0
        for finding in self._findings(options):
            failed += finding.verdict == "failed"
            self._print(finding, options["json"])
        if failed:
            raise CommandError(f"{failed} of the checks failed")

    def _findings(self, options: dict[str, Any]) -> Iterator[Finding]:
        yield from doctor.settings_findings()
        yield doctor.database_finding()
        yield doctor.database_clock_finding()
        yield doctor.tokens_finding()
        yield doctor.worker_finding()
        yield doctor.payloads_finding()
        yield asyncio.run(_valkey_finding())
        upstream = _in_force()
        try:
            endpoint = endpoints.configured(upstream)
            tls = tls_context(str(upstream.ca_file) if upstream.ca_file else None)
        except (BadEndpoint, ssl.SSLError) as error:
            yield Finding(
                "upstream",
                "failed",
                str(error),
                "set what it names; `manage.py check --deploy` tells what else is missing",
            )
            return
        yield from asyncio.run(doctor.host_findings(_hosts(upstream, endpoint, tls)))
        yield asyncio.run(doctor.clock_finding(endpoint.http_url, tls))
        link = shown.find_link(options["user"]) if options["user"] else None
        try:
            authorization = _authorization(upstream, link, options["token"])
        except (BadEndpoint, TokenRefused, TokenUnavailable) as error:
            yield Finding("auth", "failed", str(error), "have the user sign in again, or check APPSYNC_AUTH")
            return
        if authorization is None:
            yield Finding("auth", "skipped", "each user has own tokens: name one with --user, or give a --token")
            return
        part = _part(upstream, link, authorization)
        yield from asyncio.run(rehearsal.rehearse(endpoint, WebSocketTransport(tls), part))
        yield asyncio.run(_snapshot_finding(upstream, link, authorization))

    def _print(self, finding: Finding, as_json: bool) -> None:
        if as_json:
            shown.row(self.stdout, msgspec.structs.asdict(finding), as_json=True)
            return
        self.stdout.write(f"{MARKS[finding.verdict]}{finding.check}: {finding.seen}")
        if finding.remedy:
            self.stdout.write(f"          → {finding.remedy}")
        self.stdout.flush()


def _in_force() -> UpstreamConfig:
    """Return the settings, with the dialect that the links are to speak: a switch overrides the environment's."""
    upstream = config.load().upstream
    try:
        return replace(upstream, protocol=switches.get(switches.PROTOCOL, upstream.protocol))
    except DatabaseError:
        return upstream


def _hosts(upstream: UpstreamConfig, endpoint: Endpoint, tls: ssl.SSLContext) -> list[Host]:
    api = f"APPSYNC_{endpoint.dialect.upper()}_URL, APPSYNC_CA_FILE"
    hosts = [Host(endpoint.realtime_url, tls, api), Host(endpoint.http_url, tls, api)]
    others = {"SNAPSHOT_URL": upstream.snapshot_url, "OIDC_TOKEN_URL": config.load().issuer.token_url}
    return hosts + [Host(url, http.usual_tls(), name) for name, url in others.items() if url]


def _authorization(upstream: UpstreamConfig, link: Link | None, token: str | None) -> Authorization | None:
    """Return as whom to try; none if each user has own tokens and nobody was named."""
    if token:
        return Token(token)
    shared = endpoints.shared_credentials(upstream)
    if shared is not None:
        return asyncio.run(_authorization_of(shared))
    return None if link is None else credentials.stored(link.user_id, upstream.token_use)


async def _authorization_of(shared: Credentials) -> Authorization:
    return await shared.get()


def _part(upstream: UpstreamConfig, link: Link | None, authorization: Authorization) -> Part:
    """Return what to try: a subscription as links have it, and a channel beside theirs."""
    root, subject, own = upstream.channel_root, link.subject if link else NOBODY, f"doctor/{secrets.token_hex(4)}"
    if upstream.protocol == "graphql":
        organizations = product.load().recorder.organizations(link.user_id) if link else []
        name, target = next(iter(documents.subscriptions(organizations[:1]).items()), (NO_ORGANIZATION, None))
        return Part(authorization, name, target, "", upstream.settle)
    if upstream.shares_a_connection:  # it hears all that is below the users, this too
        name = feeds.pattern(root)
        return Part(authorization, name, name, f"/{root}/{own}", upstream.settle)
    name = feeds.channels(root, subject)["device/presenceChanged"]
    return Part(authorization, name, name, f"/{root}/user/{subject}/{own}", upstream.settle)


async def _valkey_finding() -> Finding:
    async with valkey.connect() as redis:
        return await doctor.valkey_finding(redis)


async def _snapshot_finding(upstream: UpstreamConfig, link: Link | None, authorization: Authorization) -> Finding:
    provider = snapshot.configured(upstream)
    if provider is None:
        remedy = "set SNAPSHOT_URL, or every gap closes as unknown"
        return Finding("snapshot", "warning", "no provider is configured", remedy)
    return await doctor.snapshot_finding(provider, link.subject if link else NOBODY, authorization)
