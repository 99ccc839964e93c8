"""``manage.py dualrun``: which of the two AppSync dialects the links speak."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django.core.management.base import CommandError, CommandParser

from realtime import config, switches
from realtime.appsync.exceptions import BadEndpoint
from realtime.management.base import ExampleCommand
from realtime.models import Link
from realtime.upstream import endpoints

PROTOCOLS = ("events", "graphql")


class Command(ExampleCommand):
    help = (
        "Switch all links between Events and GraphQL subscriptions while the site runs. Each link's change is a "
        "window in the gap ledger that a snapshot closes, so both sides end with equal state."
    )
    examples = """\
  manage.py dualrun status
  manage.py dualrun switch graphql
  manage.py dualrun switch default     back to what UPSTREAM_PROTOCOL says"""

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        commands.add_parser("status", help="which dialect is wanted, and what the links speak")
        switch = commands.add_parser("switch", help="switch all links")
        switch.add_argument("protocol", choices=(*PROTOCOLS, "default"))

    def handle(self, *args: Any, **options: Any) -> None:
        default = config.load().upstream.protocol
        if options["command"] == "switch":
            self._switch(options["protocol"], default)
        wanted = switches.get(switches.PROTOCOL, default)
        self.stdout.write(f"wanted: {wanted} (UPSTREAM_PROTOCOL is {default})")
        for protocol in PROTOCOLS:
            open_links = Link.objects.filter(protocol=protocol, state="open").count()
            self.stdout.write(f"{protocol}: {open_links} links are open")

    def _switch(self, protocol: str, default: str) -> None:
        wanted = default if protocol == "default" else protocol
        try:
            endpoints.configured(replace(config.load().upstream, protocol=wanted))
        except BadEndpoint as error:
            raise CommandError(f"not switched: {error}") from None
        if protocol == "default":
            switches.clear(switches.PROTOCOL)
        else:
            switches.put(switches.PROTOCOL, protocol)
