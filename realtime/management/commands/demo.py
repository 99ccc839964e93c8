"""`manage.py demo`: the whole product on this machine, with one command."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
from argparse import ArgumentParser
from pathlib import Path
from typing import IO, Any

from asgiref.sync import sync_to_async
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import DatabaseError, connections

from project.state import make_private, socket_path
from realtime.demo import Demo, DemoOptions, NotPrepared, free_port
from realtime.management import arguments
from realtime.management.base import ExampleCommand
from realtime.supervisor import PartFailed, Supervisor

NAME_WIDTH = 8


class Command(ExampleCommand):
    help = "Runs everything on this machine: Valkey, a local AppSync with a moving fleet, a worker, the web server."
    examples = """\
  manage.py demo                       http://127.0.0.1:8000/ with 240 devices
  manage.py demo --port 9000           on another port
  manage.py demo --devices 10000 --rate 100
  PORT=9000 RATE=50 make demo          the same through make"""

    def add_arguments(self, parser: ArgumentParser) -> None:
        given = os.environ.get
        parser.add_argument("--host", default=given("HOST", "127.0.0.1"), help="listen here (HOST)")
        parser.add_argument(
            "--port",
            type=arguments.port,
            default=given("PORT", "8000"),
            help="and on this port, 0 for a free one (PORT)",
        )
        parser.add_argument(
            "--devices", type=arguments.count, default=given("DEVICES", "240"), help="devices (DEVICES)"
        )
        parser.add_argument("--rate", type=arguments.rate, default=given("RATE", "4"), help="changes a second (RATE)")

    def handle(self, *args: Any, **given: Any) -> None:
        options = DemoOptions(
            host=given["host"],
            port=given["port"] or free_port(),
            devices=given["devices"],
            rate=given["rate"],
            state_dir=settings.STATE_DIR,
            manage=settings.BASE_DIR / "manage.py",
            secret_key=settings.SECRET_KEY,
            token_key=",".join(settings.TOKEN_KEY),
        )
        make_private(options.state_dir)
        with _only_one(options.state_dir / "demo.lock"):
            _check_port(options.host, options.port)
            problems: list[str] = []
            try:
                asyncio.run(self._run(options))
            except* (PartFailed, NotPrepared) as group:
                problems = [str(error) for error in _leaves(group)]
        if problems:
            raise CommandError("\n".join(problems))

    async def _run(self, options: DemoOptions) -> None:
        demo = Demo(options)
        supervisor = Supervisor(self._say, lambda: demo.write_record(supervisor))
        stopped = _stop_signal(supervisor)
        try:
            running = asyncio.ensure_future(self._start(demo, supervisor, options))
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                running.cancel()
                await asyncio.wait({running})
            else:
                await running
        finally:
            self._say("demo", "stopping")
            await supervisor.stop()
            demo.record.unlink(missing_ok=True)
            self._say("demo", "stopped")

    async def _start(self, demo: Demo, supervisor: Supervisor, options: DemoOptions) -> None:
        """Start the parts as soon as what each needs is there, then wait for one of them to fail."""
        self._say("demo", "starting; Ctrl-C stops everything")
        async with asyncio.TaskGroup() as group:
            if settings.REDIS_URL == f"unix://{socket_path(options.state_dir)}":
                group.create_task(supervisor.start(demo.valkey(socket_path(options.state_dir))))
            group.create_task(supervisor.start(demo.emulator()))
            group.create_task(demo.collect_static())
            group.create_task(sync_to_async(_prepare_database)())
        async with asyncio.TaskGroup() as group:
            group.create_task(supervisor.start(demo.worker()))
            group.create_task(supervisor.start(demo.web()))
        self._announce(supervisor, options)
        await supervisor.wait()

    def _announce(self, supervisor: Supervisor, options: DemoOptions) -> None:
        from dashboard.demo import ACCOUNTS, PASSWORD

        parts = " ".join(f"{part.name}={part.pid}" for part in supervisor.parts)
        self._say("demo", f"processes: {parts}")
        self._say("demo", f"Fleetlight is ready: {options.address}")
        if options.open_to_all:
            self._say("demo", "it is open to the network, and everybody knows its passwords")
        self._say("demo", f"sign in with the password {PASSWORD!r} as")
        for account in ACCOUNTS:
            self._say("demo", f"  {account.username:<10} {account.about}")

    def _say(self, name: str, line: str) -> None:
        self.stdout.write(f"{name:<{NAME_WIDTH}} | {line}")
        self.stdout.flush()


def _leaves(group: BaseExceptionGroup[Exception]) -> list[BaseException]:
    """Return the exceptions of a group and of the groups in it."""
    return [
        leaf
        for error in group.exceptions
        for leaf in (_leaves(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]


def _prepare_database() -> None:
    from dashboard.demo import seed

    try:
        call_command("migrate", interactive=False, verbosity=0)
        seed()
    except DatabaseError as error:
        raise NotPrepared(f"The database cannot be used: {error}. Check DATABASE_URL.") from error
    finally:
        connections.close_all()


def _stop_signal(supervisor: Supervisor) -> asyncio.Future[None]:
    """Return a future that the first Ctrl-C or SIGTERM completes; a second one ends the parts at once."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[None] = loop.create_future()

    def on_signal() -> None:
        if stopped.done():
            supervisor.kill()
        else:
            stopped.set_result(None)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, on_signal)
    return stopped


def _only_one(path: Path) -> IO[str]:
    """Hold a lock for as long as the file returned is open: two demos cannot share one state folder."""
    lock = path.open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise CommandError(
            f"A demo is already running on {path.parent}. Stop it, or set STATE_DIR to another folder."
        ) from error
    return lock


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise CommandError(
                f"Cannot listen on {host}:{port}: {error.strerror}. Choose another port: PORT=8001 make demo"
            ) from error
