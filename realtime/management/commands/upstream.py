"""``manage.py upstream``: a worker process."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

from channels.layers import get_channel_layer
from django.core.management.base import BaseCommand, CommandError, CommandParser

from realtime import config, product, tether, valkey
from realtime.appsync.exceptions import BadEndpoint
from realtime.bridge import Fenced
from realtime.worker import AnotherWorker, Worker


class Command(BaseCommand):
    help = (
        "Keep the upstream links of everybody who is present, and record what they bring.\n\n"
        "Examples:\n  manage.py upstream\n  manage.py upstream --name worker-2 --metrics 127.0.0.1:9101"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", default=f"worker-{socket.gethostname()}"[:64], help="this worker's name")
        parser.add_argument("--metrics", metavar="HOST:PORT", help="serve metrics and health there")

    def handle(self, *args: Any, **options: Any) -> None:
        tether.watch_parent()
        try:
            asyncio.run(self._run(options["name"]))
        except (BadEndpoint, AnotherWorker, Fenced) as error:
            raise CommandError(str(error)) from None

    async def _run(self, name: str) -> None:
        worker = Worker(name, config.load(), product.load(), valkey.connect(), get_channel_layer())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        self.stdout.write(f"worker {name} is running")
        self.stdout.flush()
        await worker.run()
        self.stdout.write(f"worker {name} has stopped")
