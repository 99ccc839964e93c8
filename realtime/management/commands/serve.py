"""The web process: pages and live feed."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from django.core.management.base import CommandError, CommandParser

from realtime import config
from realtime.management import arguments
from realtime.management.base import ExampleCommand

REMEDIES = {
    "database": "Is DATABASE_URL right, and was `manage.py migrate` run?",
    "valkey": "Is REDIS_URL right, and does it run?",
}


class Command(ExampleCommand):
    help = (
        "Serves the pages and the live feed. On SIGTERM it stops accepting, tells each live session when to come "
        "back, and exits with status 0."
    )
    examples = """\
  manage.py serve                              on 127.0.0.1:8000
  manage.py serve --host 0.0.0.0 --port 80     for everybody
  manage.py serve --port 0                     on a free port, which is printed"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
        parser.add_argument(
            "--port", type=arguments.port, default=8000, help="port, 0 for a free one (default: %(default)s)"
        )

    def handle(self, *args: Any, host: str, port: int, **options: Any) -> None:
        # Twisted's reactor must be made by Daphne, so nothing of it is imported before this command runs.
        from realtime.delivery.daphne import CannotListen, Server

        settings = config.load().delivery
        server = Server(
            _application(),
            host,
            port,
            started=self._begin,
            leave=_leave,
            patience=settings.drain,
            frame_bytes=settings.frame_bytes,
            trust_proxy=config.load().trust_proxy,
        )
        try:
            server.serve()
        except CannotListen as refusal:
            raise CommandError(
                f"{str(refusal).rstrip('.')}. Free the port, or choose another one with --port."
            ) from None
        sys.stdout.flush()
        sys.stderr.flush()
        # Daphne 4.2 ends in a segmentation fault on Python 3.11 if the interpreter takes down an open stream.
        os._exit(0)

    def _begin(self, host: str, port: int) -> None:
        self.stdout.write(f"Fleetlight listens on http://{host}:{port}/")
        self.stdout.flush()
        self._problems = asyncio.ensure_future(self._say_problems())

    async def _say_problems(self) -> None:
        """Say in a line each what is away. It is no reason not to start: all of it is tried again."""
        from project.asgi import health

        for name, problem in (await health.problems()).items():
            self.stderr.write(
                f"The {name} is away ({problem}). {REMEDIES[name]} It is tried again; /readyz tells when it is there."
            )


def _application() -> Any:
    from project.asgi import application

    return application


async def _leave() -> None:
    from project.asgi import health
    from realtime.delivery.routing import live

    health.draining = True
    live().hub.drain()
