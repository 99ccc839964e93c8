"""A web process under a test's control, and who talks to it."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import msgspec
from django.conf import settings
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from realtime.tether import PARENT_VARIABLE
from tests import databases

DEADLINE = 10
SAME = object()
MANAGE = Path(settings.BASE_DIR) / "manage.py"


class WebProcess:
    """`manage.py serve` on a free port, with the tests' database and Valkey."""

    def __init__(self, **environment):
        self._environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "project.settings",
            "ENV_FILE": os.devnull,
            "STATE_DIR": str(settings.STATE_DIR),
            "DATABASE_URL": databases.address(),
            "REDIS_URL": settings.REDIS_URL,
            PARENT_VARIABLE: str(os.getpid()),
            **environment,
        }
        self.log = []
        self._said = threading.Condition()
        self.expected_status = 0

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, str(MANAGE), "serve", "--port", "0"],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.url = self.says(" listens on ").split(" listens on ")[1].rstrip("/")
        return self

    def says(self, text):
        """Return the first line of its log that holds the text, waiting for it."""
        with self._said:
            found = self._said.wait_for(lambda: [line for line in self.log if text in line], DEADLINE)
        assert found, "\n".join(self.log)
        return found[0]

    def _read(self):
        for line in self.process.stdout:
            with self._said:
                self.log.append(line.rstrip())
                self._said.notify_all()

    @property
    def resident_bytes(self):
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def stop(self):
        """Tell it to leave; return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(DEADLINE)
        finally:
            self.process.kill()
            self.process.wait()
            self._reader.join()
            self.process.stdout.close()


class Browser:
    """Somebody signed in (or a stranger), who opens the doors as a page of the site would."""

    def __init__(self, server, session_key=None):
        self.url = server.url
        self.session_key = session_key
        self.headers = {"Cookie": f"{settings.SESSION_COOKIE_NAME}={session_key}"} if session_key else {}

    @asynccontextmanager
    async def socket(self, cursor="", *, path="/ws/live/", origin=SAME, **options):
        url = f"{self.url.replace('http', 'ws', 1)}{path}?cursor={cursor}"
        origin = self.url if origin is SAME else origin
        async with connect(
            url, origin=origin, additional_headers=self.headers, proxy=None, close_timeout=1, **options
        ) as socket:
            yield Socket(socket)

    @asynccontextmanager
    async def stream(self, cursor="", **headers):
        async with (
            httpx.AsyncClient(timeout=DEADLINE, trust_env=False, verify=False) as client,
            client.stream(
                "GET", f"{self.url}/live/sse/", params={"cursor": cursor}, headers={**self.headers, **headers}
            ) as response,
        ):
            yield Stream(response)

    async def request(self, method, path, *, headers=None, **options):
        async with httpx.AsyncClient(timeout=DEADLINE, trust_env=False, verify=False) as client:
            return await client.request(method, self.url + path, headers={**self.headers, **(headers or {})}, **options)

    async def get(self, path, **headers):
        return await self.request("GET", path, headers=headers)

    async def post(self, content):
        return await self.request("POST", "/live/send/", content=content, headers={"Origin": self.url})


class Frames:
    """What a client got, with ways to wait for more."""

    def __init__(self):
        self.seen = []

    async def next(self):
        async with asyncio.timeout(DEADLINE):
            frame = msgspec.json.decode(await self._text())
        self.seen.append(frame)
        return frame

    async def until(self, fits):
        """Return the first frame from now on that fits."""
        while not fits(frame := await self.next()):
            pass
        return frame

    async def of_type(self, name):
        return await self.until(lambda frame: frame["type"] == name)

    async def events(self, count):
        return [await self.of_type("event") for _ in range(count)]


class Socket(Frames):
    def __init__(self, socket):
        super().__init__()
        self.socket = socket

    async def _text(self):
        return await self.socket.recv()

    async def say(self, **message):
        await self.socket.send(msgspec.json.encode(message).decode())

    async def ending(self):
        """Return the close code, reading what comes before it."""
        async with asyncio.timeout(DEADLINE):
            with suppress(ConnectionClosed):
                while True:
                    self.seen.append(msgspec.json.decode(await self.socket.recv()))
        return self.socket.close_code


class Stream(Frames):
    def __init__(self, response):
        super().__init__()
        self.response = response
        self.last_event_id = None
        self._lines = response.aiter_lines()

    async def _text(self):
        async for line in self._lines:
            if line.startswith("id: "):
                self.last_event_id = line[4:]
            elif line.startswith("data: "):
                return line[6:]
        raise EOFError("the stream ended")

    async def comment(self):
        async with asyncio.timeout(DEADLINE):
            async for line in self._lines:
                if line.startswith(":"):
                    return line

    async def ended(self):
        async with asyncio.timeout(DEADLINE):
            async for _ in self._lines:
                pass
