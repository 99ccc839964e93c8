"""The demo: every part of the product on one machine, as real as it can be.

A real Valkey, a real AppSync emulator with a moving fleet, a real worker and a real web server, each a process of
its own. Nothing here is a short cut through the code: the parts get the settings that a real site would give.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime import embedded_valkey, tether
from realtime.supervisor import Part, Supervisor

POLL = 0.05
LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = ("localhost", LOOPBACK, "[::1]")
DRAIN_SECONDS = 2  # nobody wants to wait longer for Ctrl-C


class NotPrepared(Exception):
    """Something that has to be done before the parts start has failed; the text says what, and what to do."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What the demo is asked for. `rate` is in changes a second."""

    host: str
    port: int
    devices: int
    rate: float
    state_dir: Path
    manage: Path
    secret_key: str
    token_key: str

    @property
    def open_to_all(self) -> bool:
        """Whether other machines can reach the web part."""
        return self.host not in (LOOPBACK, "localhost", "::1")

    @property
    def address(self) -> str:
        return f"http://{LOOPBACK if self.host in ('0.0.0.0', '::') else self.host}:{self.port}/"


class Demo:
    """Declares the parts, and keeps `demo.json` true: where they are and which processes they are."""

    def __init__(self, options: DemoOptions) -> None:
        self._options = options
        self._endpoints: dict[str, str] = {}
        self._emulator_port = 0
        self._emulator_ready = asyncio.Event()
        self._worker_port = free_port()
        self.record = options.state_dir / "demo.json"

    def valkey(self, socket_path: Path) -> Part:
        async def answers() -> None:
            async with Redis.from_url(f"unix://{socket_path}") as client:
                while True:
                    with suppress(RedisError, OSError):
                        await client.ping()
                        return
                    await asyncio.sleep(POLL)

        command = embedded_valkey.command(socket_path, self._options.state_dir)
        # It warns of what may befall a background save: this one saves nothing.
        return Part("valkey", lambda: command, ready=answers, hears=lambda line: "overcommit" not in line)

    def emulator(self) -> Part:
        """The emulator keeps its port when it is started again, as the other parts know it by its address."""

        def command() -> list[str]:
            return self._manage(
                "emulator",
                *("--host", LOOPBACK, "--port", str(self._emulator_port)),
                *("--state", str(self._options.state_dir / "emulator.journal")),
                *("--fleet", str(self._options.devices), "--rate", f"{self._options.rate:g}"),
            )

        async def ready() -> None:
            await self._emulator_ready.wait()

        return Part("emulator", command, ready=ready, environment=self._site, hears=self._read_ready_line)

    def worker(self) -> Part:
        place = f"{LOOPBACK}:{self._worker_port}"
        command = self._manage("upstream", "--name", "demo", "--metrics", place)
        return Part(
            "worker",
            lambda: command,
            ready=lambda: _answers(LOOPBACK, self._worker_port, "/readyz"),
            environment=self._environment,
        )

    def web(self) -> Part:
        host, port = self._options.host, self._options.port
        command = self._manage("serve", "--host", host, "--port", str(port))
        return Part(
            "web",
            lambda: command,
            ready=lambda: _answers(LOOPBACK if host == "0.0.0.0" else host, port, "/readyz"),
            environment=self._environment,
        )

    async def collect_static(self) -> None:
        """Gather and hash the static files for the web part, which runs without `DEBUG`.

        Raises:
            NotPrepared: with what the command said.
        """
        process = await asyncio.create_subprocess_exec(
            *self._manage("collectstatic", "--noinput", "--verbosity", "0"),
            env={**os.environ, **self._site(), tether.PARENT_VARIABLE: str(os.getpid())},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            said, _ = await process.communicate()
        except asyncio.CancelledError:
            process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise NotPrepared(f"The static files could not be collected:\n{said.decode()}")

    def write_record(self, supervisor: Supervisor) -> None:
        """Write who is who, for the `fault` command and for tests; in one step, so no reader sees half of it."""
        record = {
            "address": self._options.address,
            "supervisor": os.getpid(),
            "parts": {part.name: part.pid for part in supervisor.parts},
            "worker_url": f"http://{LOOPBACK}:{self._worker_port}/",
            **self._endpoints,
        }
        draft = self.record.with_suffix(".draft")
        draft.write_text(json.dumps(record, indent=2) + "\n")
        draft.replace(self.record)

    def _manage(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self._options.manage), *arguments]

    def _read_ready_line(self, line: str) -> bool:
        if line.startswith('{"'):
            self._endpoints = json.loads(line)
            self._emulator_port = int(self._endpoints["events_url"].rpartition(":")[2].partition("/")[0])
            self._emulator_ready.set()
        return True

    def _site(self) -> Mapping[str, str]:
        """The settings that do not depend on where the emulator is."""
        return {
            "DEBUG": os.environ.get("DEBUG", "false"),
            "DEMO": "true",
            "HTTPS": "false",
            "ALLOWED_HOSTS": "*" if self._options.open_to_all else ",".join(LOOPBACK_NAMES),
            "SECRET_KEY": self._options.secret_key,
            "TOKEN_KEY": self._options.token_key,
            "STATE_DIR": str(self._options.state_dir),
            "LIVE_DRAIN_SECONDS": str(DRAIN_SECONDS),
            "PYTHONUNBUFFERED": "1",
        }

    def _environment(self) -> Mapping[str, str]:
        at = self._endpoints
        return {
            **self._site(),
            "APPSYNC_AUTH": "oidc",
            "APPSYNC_EVENTS_URL": at["events_url"],
            "APPSYNC_EVENTS_REALTIME_URL": at["events_realtime_url"],
            "APPSYNC_GRAPHQL_URL": at["graphql_url"],
            "APPSYNC_GRAPHQL_REALTIME_URL": at["graphql_realtime_url"],
            "SNAPSHOT_URL": at["snapshot_url"],
            "OIDC_TOKEN_URL": at["token_url"],
        }


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on, just now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


async def _answers(host: str, port: int, path: str) -> None:
    """Return once `GET path` is answered with 200."""
    request = f"GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode()
    while True:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(request)
            status = await reader.readline()
            writer.close()
            if b" 200 " in status:
                return
        await asyncio.sleep(POLL)
