"""The web process."""

from __future__ import annotations

import os
import sys
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime import config
from realtime.delivery.routing import live

EXAMPLES = """\
Examples:
  manage.py serve                              pages and live feed on 127.0.0.1:8000
  manage.py serve --host 0.0.0.0 --port 80     for everybody
  manage.py serve --port 0                     on a free port, which is printed

On SIGTERM the process stops accepting, tells each live session when to come back, and exits with status 0.
"""


class Command(BaseCommand):
    """Composes the server; what it does is in realtime.delivery."""

    help = "Serve the pages and the live feed."

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        from argparse import RawDescriptionHelpFormatter

        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.formatter_class = RawDescriptionHelpFormatter
        parser.epilog = EXAMPLES
        return parser

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument("--port", type=int, default=8000, help="port, 0 for a free one (default: %(default)s)")

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        # Twisted's reactor must be made by Daphne, so nothing of it is imported before this command runs.
        from realtime.delivery.daphne import CannotListen, Server

        settings = config.load().delivery
        server = Server(
            _application(),
            host,
            port,
            started=self._say_started,
            leave=_leave,
            patience=settings.drain,
            frame_bytes=settings.frame_bytes,
            trust_proxy=config.load().trust_proxy,
        )
        try:
            server.serve()
        except CannotListen as refusal:
            raise CommandError(f"{refusal} Free the port, or choose another one with --port.") from None
        sys.stdout.flush()
        sys.stderr.flush()
        # Daphne 4.2 ends in a segmentation fault on Python 3.11 if the interpreter takes down an open stream.
        os._exit(0)

    def _say_started(self, host: str, port: int) -> None:
        self.stdout.write(f"Fleetlight listens on http://{host}:{port}/")
        self.stdout.flush()


def _application() -> Any:
    from project.asgi import application

    return application


async def _leave() -> None:
    from project.asgi import health

    health.draining = True
    live().hub.drain()
