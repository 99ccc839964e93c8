"""``manage.py upstream``: a worker process."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import Any

from channels.layers import get_channel_layer
from django.core.management.base import CommandError, CommandParser

from realtime import config, probe_server, product, valkey
from realtime.appsync.exceptions import BadEndpoint
from realtime.health import Health, database_check, valkey_check
from realtime.leases import AnotherWorker, Fenced
from realtime.management import arguments
from realtime.management.base import ExampleCommand
from realtime.probes import Probes
from realtime.worker import Worker


class Command(ExampleCommand):
    help = "Keep the upstream links of everybody who is present, and record what they bring."
    examples = """\
  manage.py upstream
  manage.py upstream --name worker-2 --metrics 127.0.0.1:9101"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--name", default=f"worker-{socket.gethostname()}"[:64], help="this worker's name")
        parser.add_argument(
            "--metrics", metavar="HOST:PORT", type=arguments.place, help="serve metrics and health there"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            asyncio.run(self._run(options["name"], options["metrics"]))
        except (BadEndpoint, AnotherWorker, Fenced) as error:
            raise CommandError(str(error)) from None

    async def _run(self, name: str, metrics: tuple[str, int] | None) -> None:
        client = valkey.connect()
        worker = Worker(name, config.load(), product.load(), client, get_channel_layer())
        if metrics is not None:
            health = Health({"database": database_check(), "valkey": valkey_check(client)})
            await _serve_probes(Probes(health, config.load().metrics_token), *metrics)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.stop)
        self.stdout.write(f"worker {name} is running")
        self.stdout.flush()
        await worker.run()
        self.stdout.write(f"worker {name} has stopped")


async def _serve_probes(probes: Probes, host: str, port: int) -> None:
    try:
        await probe_server.start(probes, host, port)
    except OSError as error:
        raise CommandError(f"Cannot serve metrics on {host}:{port}: {error.strerror}. Choose another.") from None
