"""The systems that are measured: each with an emulator, a Valkey, a database and people of its own."""

from __future__ import annotations

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import httpx
import msgspec

from project.state import socket_path
from realtime import embedded_valkey
from tests.bench import load
from tests.bench.processes import Process, python

SECRET = "only-for-a-bench-on-the-loopback-interface-0123456789"
TOKEN_KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
LINKS_DEADLINE = 120.0


def settings(directory: Path) -> dict[str, str]:
    """Return the environment of a site in this folder that runs as a deployed one does, but on the loopback."""
    return {
        "ENV_FILE": os.devnull,
        "STATE_DIR": str(directory),
        "DEBUG": "false",
        "HTTPS": "false",
        "ALLOWED_HOSTS": "127.0.0.1",
        "SECRET_KEY": SECRET,
        "TOKEN_KEY": TOKEN_KEY,
        "LOG_LEVEL": "WARNING",
        "LIVE_DRAIN_SECONDS": "0",
    }


class Seen(NamedTuple):
    """One event in a frame that a client got; times in microseconds, none where the system tells none."""

    source: int
    received: int | None = None
    recorded: int | None = None
    relayed: int | None = None


class System(ABC):
    """From the emulator to an open web server; enter it to start it."""

    name: str
    about: str

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stack = AsyncExitStack()
        self.processes: list[Process] = []
        self.cookies: dict[str, str] = {}
        self.origin = ""
        self.endpoints: dict[str, str] = {}

    async def __aenter__(self) -> System:
        self._directory.mkdir(parents=True)
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    @abstractmethod
    def socket_path(self) -> str:
        """Where its WebSocket is."""

    @property
    @abstractmethod
    def page_path(self) -> str:
        """The page that Chromium has open."""

    @abstractmethod
    def read(self, text: str) -> list[Seen]:
        """Return the upstream events in a frame."""

    @abstractmethod
    async def _start(self) -> None: ...

    # ── The emulator ─────────────────────────────────────────────────────────────────────────────────────────

    async def set_rate(self, changes: float) -> None:
        """Have the fleet make this many changes a second, each of which is published to five people."""
        await self._control("POST", "world", {"op": "rate", "rate": changes})

    async def copies(self) -> int:
        """Return how many copies of events the emulator has sent."""
        return int((await self._control("GET", "stats"))["delivered"])

    async def links(self) -> int:
        """Return how many subscriptions the emulator has."""
        return int((await self._control("GET", "stats"))["subscriptions"])

    async def _control(self, method: str, what: str, body: object = None) -> dict[str, object]:
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            answer = await client.request(method, f"{self.endpoints['control_url']}/{what}", json=body)
            return dict(answer.raise_for_status().json())

    # ── Parts ────────────────────────────────────────────────────────────────────────────────────────────────

    async def _run(self, name: str, command: list[str], environment: dict[str, str], ready: str) -> Process:
        process = await Process.start(name, command, environment, ready=ready)
        self._stack.push_async_callback(process.stop)
        self.processes.append(process)
        return process

    async def _once(self, name: str, command: list[str], environment: dict[str, str]) -> str:
        """Run a program to its end and return its last line."""
        process = await Process.start(name, command, environment)
        return (await process.end() or [""])[-1]

    async def _start_sources(self) -> None:
        valkey = embedded_valkey.command(socket_path(self._directory), self._directory)
        await self._run("valkey", valkey, {}, "")
        size = ("--fleet", load.DEVICES, "--organizations", load.ORGANIZATIONS, "--people", load.PEOPLE)
        command = python("manage.py", "emulator", *map(str, size), "--rate", "0")
        emulator = await self._run("emulator", command, settings(self._directory), '{"events_url"')
        self.endpoints = json.loads(await emulator.line('{"events_url"'))


class At(msgspec.Struct):
    source: int | None = None
    received: int = 0
    recorded: int = 0
    relayed: int = 0


class Frame(msgspec.Struct):
    type: str
    source: str = ""
    at: At | None = None
    frames: list[msgspec.Raw] = []


class Fleetlight(System):
    """This project, as it is deployed: worker and web process, SQLite, Valkey."""

    name = "fleetlight"
    about = "worker and web process as deployed: decoded, merged, recorded, recoverable feed, relayed, delivered"
    socket_path = "/ws/live/"
    page_path = "/devices/"
    _decoder = msgspec.json.Decoder(Frame)

    async def _start(self) -> None:
        await self._start_sources()
        site = self._site()
        people = await self._once("people", python("-m", "tests.bench.people"), site)
        self.cookies = json.loads(people)
        await self._once("collectstatic", python("manage.py", "collectstatic", "--noinput", "-v", "0"), site)
        await self._run("worker", python("manage.py", "upstream", "--name", "bench"), site, "is running")
        web = await self._run("web", python("manage.py", "serve", "--port", "0"), site, "listens on")
        self.origin = (await web.line("listens on")).split(" listens on ")[1].strip().rstrip("/")

    def read(self, text: str) -> list[Seen]:
        frame = self._decoder.decode(text)
        if frame.type == "batch":
            return [seen for part in frame.frames for seen in self.read(bytes(part).decode())]
        if frame.source != "events" or frame.at is None or frame.at.source is None:
            return []
        return [Seen(frame.at.source, frame.at.received, frame.at.recorded, frame.at.relayed)]

    def _site(self) -> dict[str, str]:
        at = self.endpoints
        return {
            **settings(self._directory),
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "APPSYNC_AUTH": "oidc",
            "APPSYNC_EVENTS_URL": at["events_url"],
            "APPSYNC_EVENTS_REALTIME_URL": at["events_realtime_url"],
            "SNAPSHOT_URL": at["snapshot_url"],
            "OIDC_TOKEN_URL": at["token_url"],
        }


class Naive(System):
    """What is written by hand from the Channels tutorial, under stock Daphne.

    A consumer per socket (AsyncJsonWebsocketConsumer, AuthMiddlewareStack) joins its user's group on the pub/sub layer
    and does ``send_json``; a subscriber with a link per user decodes with json and does one ``group_send`` per copy.
    It keeps nothing: no record, no merge, no cursor, no repair, no gap ledger.
    """

    name = "naive"
    about = "Daphne, AsyncJsonWebsocketConsumer, pub/sub layer, one group_send a copy; keeps nothing"
    socket_path = "/ws/"
    page_path = "/"
    saves = False

    async def _start(self) -> None:
        await self._start_sources()
        site = self._site()
        self.cookies = json.loads(await self._once("people", python("-m", "tests.bench.naive.people"), site))
        daphne = python("-m", "daphne", "-b", "127.0.0.1", "-p", "0", "tests.bench.naive.asgi:application")
        web = await self._run("web", daphne, site, "Listening on TCP address")
        address = (await web.line("Listening on TCP address")).rpartition(" ")[2]
        self.origin = f"http://{address}"
        await self._run("subscriber", python("-m", "tests.bench.naive.subscriber"), site, "subscribed")

    def read(self, text: str) -> list[Seen]:
        moment = datetime.fromisoformat(json.loads(text)["timestamp"])
        return [Seen(round(moment.timestamp() * 1e6))]

    def _site(self) -> dict[str, str]:
        return {
            **settings(self._directory),
            "DJANGO_SETTINGS_MODULE": "tests.bench.naive.settings",
            "BENCH_VALKEY": str(socket_path(self._directory)),
            "BENCH_DATABASE": str(self._directory / "naive.sqlite3"),
            "BENCH_REALTIME_URL": self.endpoints["events_realtime_url"],
            "BENCH_TOKEN_URL": self.endpoints["token_url"],
            "BENCH_SAVES": "1" if self.saves else "",
        }


class NaiveThatSaves(Naive):
    """The naive one, that also keeps the newest state: one ``aupdate_or_create`` a copy, before its group_send."""

    name = "naive, saving"
    about = "the same, and one update_or_create a copy"
    saves = True


SYSTEMS: Sequence[type[System]] = (Fleetlight, Naive, NaiveThatSaves)
