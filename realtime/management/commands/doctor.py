"""``manage.py doctor``: is everything that this site stands on as it should be? If not, what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser

from realtime import config, credentials, doctor, feeds, snapshot, valkey
from realtime.appsync.auth import Authorization, Token
from realtime.appsync.exceptions import BadEndpoint
from realtime.doctor import Finding
from realtime.management import shown
from realtime.management.base import ExampleCommand
from realtime.upstream import endpoints
from realtime.upstream.credentials import Credentials, TokenRefused, TokenUnavailable
from realtime.upstream.transport import WebSocketTransport, tls_context

MARKS = {"ok": "ok      ", "warning": "warning ", "failed": "FAILED  ", "skipped": "skipped "}


class Command(ExampleCommand):
    help = "Check settings, stores, keys, worker, names, TLS, clock, sign-in, subscribing, snapshot; a remedy for each."
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
        yield doctor.tokens_finding()
        yield doctor.worker_finding()
        yield asyncio.run(self._valkey())
        try:
            endpoint = endpoints.configured(config.load().upstream)
        except BadEndpoint as error:
            yield Finding("upstream", "failed", str(error))
            return
        subject, authorization = self._identity(options)
        yield from asyncio.run(self._upstream(endpoint, subject, authorization))

    def _identity(self, options: dict[str, Any]) -> tuple[str, Authorization | None]:
        """Return whose channels to try, and as whom; without credentials the last steps are skipped."""
        link = shown.find_link(options["user"]) if options["user"] else None
        subject = link.subject if link else "doctor"
        if options["token"]:
            return subject, Token(options["token"])
        shared = endpoints.shared_credentials(config.load().upstream)
        if shared is None and link is not None:
            try:
                return subject, credentials.stored(link.user_id, config.load().upstream.token_use)
            except TokenRefused as error:
                raise CommandError(f"no tokens of {options['user']}: {error}") from None
        return subject, None if shared is None else self._shared(shared)

    def _shared(self, shared: Credentials) -> Authorization:
        try:
            return asyncio.run(_authorization(shared))
        except TokenUnavailable as error:
            raise CommandError(str(error)) from None

    async def _valkey(self) -> Finding:
        async with valkey.connect() as redis:
            return await doctor.valkey_finding(redis)

    async def _upstream(self, endpoint: Any, subject: str, authorization: Authorization | None) -> list[Finding]:
        upstream = config.load().upstream
        tls = tls_context(str(upstream.ca_file) if upstream.ca_file else None)
        findings = [
            await doctor.name_finding(endpoint.realtime_url),
            await doctor.tls_finding(endpoint.realtime_url, tls),
            await doctor.clock_finding(endpoint.http_url),
        ]
        if authorization is None:
            why = "each user has own tokens: name one with --user, or give a --token"
            return [*findings, Finding("auth", "skipped", why)]
        channel = feeds.channels(upstream.channel_root, subject)["device/presenceChanged"]
        if upstream.shares_a_connection:
            channel = feeds.pattern(upstream.channel_root)
        findings += await doctor.upstream_findings(endpoint, WebSocketTransport(tls), authorization, channel)
        provider = snapshot.configured(upstream)
        if provider is None:
            remedy = "set SNAPSHOT_URL, or every gap closes as unknown"
            return [*findings, Finding("snapshot", "warning", "no provider is configured", remedy)]
        return [*findings, await doctor.snapshot_finding(provider, subject, authorization)]

    def _print(self, finding: Finding, as_json: bool) -> None:
        if as_json:
            shown.row(self.stdout, msgspec.structs.asdict(finding), as_json=True)
            return
        self.stdout.write(f"{MARKS[finding.verdict]}{finding.check}: {finding.seen}")
        if finding.remedy:
            self.stdout.write(f"          → {finding.remedy}")
        self.stdout.flush()


async def _authorization(shared: Credentials) -> Authorization:
    return await shared.get()
