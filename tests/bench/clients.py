"""The browsers of a measured system: plain WebSocket clients, and one Chromium with a page open."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, async_playwright
from playwright.async_api import TimeoutError as PlaywrightTimeout
from websockets.asyncio.client import ClientConnection, connect

from tests import chromium
from tests.bench.systems import System

PARALLEL = 10
"""Handshakes under way at once."""

# Notes each frame with the time of its arrival, before the page's own code hears of it.
NOTE_FRAMES = """
window.benchFrames = [];
window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    this.addEventListener("message", ({ data }) => {
      benchFrames.push([performance.timeOrigin + performance.now(), data]);
    });
  }
};
"""

Arrival = tuple[int, str]
"""When a frame arrived (µs), and its text."""


class Clients:
    """Everybody who watches one system. Frames are only noted while they come, and read when the load is over."""

    def __init__(self, system: System, browser: Browser) -> None:
        self._system = system
        self._browser = browser
        self._stack = AsyncExitStack()
        self._readers: list[asyncio.Task[None]] = []
        self._page: Page | None = None
        self.arrivals: list[Arrival] = []

    async def __aenter__(self) -> Clients:
        first, *others = self._system.cookies
        door = asyncio.Semaphore(PARALLEL)
        try:
            await asyncio.gather(*(self._open(self._system.cookies[subject], door) for subject in others))
            self._page = await self._open_page(self._system.cookies[first])
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await self._stack.aclose()

    async def take(self) -> tuple[list[Arrival], list[Arrival]]:
        """Return what the plain clients and Chromium got since the last call."""
        for reader in self._readers:
            if reader.done():
                raise RuntimeError(f"{self._system.name}: a client lost its connection: {reader.exception()}")
        assert self._page is not None
        plain, self.arrivals = self.arrivals, []
        found = await self._page.evaluate("benchFrames.splice(0)")
        return plain, [(round(milliseconds * 1000), text) for milliseconds, text in found]

    async def _open(self, cookie: str, door: asyncio.Semaphore) -> None:
        url = self._system.origin.replace("http", "ws", 1) + self._system.socket_path
        async with door:
            socket = await self._stack.enter_async_context(
                connect(
                    url,
                    origin=self._system.origin,  # type: ignore[arg-type]
                    additional_headers={"Cookie": cookie},
                    compression=None,
                    proxy=None,
                    open_timeout=30,
                    close_timeout=1,
                )
            )
        self._readers.append(asyncio.create_task(self._read(socket)))

    async def _read(self, socket: ClientConnection) -> None:
        async for text in socket:
            self.arrivals.append((time.time_ns() // 1000, str(text)))

    async def _open_page(self, cookie: str) -> Page:
        name, _, value = cookie.partition("=")
        host = urlsplit(self._system.origin).hostname or ""
        context = await self._browser.new_context()
        self._stack.push_async_callback(context.close)
        await context.add_cookies([{"name": name, "value": value, "domain": host, "path": "/"}])
        await context.add_init_script(NOTE_FRAMES)
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        try:
            async with page.expect_websocket():
                await page.goto(self._system.origin + self._system.page_path)
        except PlaywrightTimeout:
            raise RuntimeError(f"{self._system.name}: Chromium opened no WebSocket; it says: {complaints}") from None
        return page


class Chromium:
    """The system's Chromium, headless; enter it to have it."""

    async def __aenter__(self) -> Browser:
        path = chromium.path()
        if path is None:
            raise RuntimeError("The bench needs Chromium: `make chromium` installs it, or says how.")
        self._playwright = await async_playwright().start()
        self._browser = await self._playwright.chromium.launch(executable_path=path, args=chromium.ARGUMENTS)
        return self._browser

    async def __aexit__(self, *exc: object) -> None:
        await self._browser.close()
        await self._playwright.stop()
