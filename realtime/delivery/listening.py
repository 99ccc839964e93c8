"""How this process hears the channel layer: one member of every group that it wants, whatever the number of sessions.

`ValkeyListener` reads the layer's own Valkey channels itself, which costs a third of what the layer's `receive` does
and knows at once when a subscription holds or the connection is lost. It knows one private fact of channels_redis: the
name of a group's channel (a test sends through the layer and sees it arrive). `LayerListener` needs nothing but the
layer's public interface, and serves wherever Valkey is behind TLS, guards or a cluster.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import hiredis
from redis.connection import parse_url
from redis.exceptions import RedisError

from realtime import groups
from realtime.valkey_address import ValkeyAddress

logger = logging.getLogger("realtime.delivery.listening")

PULSE_EVERY = 1.0
"""Seconds between two proofs that messages still come."""

PULSE_DEADLINE = 2.0
"""Seconds within which such a proof must be there."""

RETRY_AFTER = 0.2
"""Seconds between two attempts to reach Valkey: a local one is back in less, and one attempt costs nothing."""

AWAY = (RedisError, OSError, asyncio.TimeoutError, hiredis.HiredisError)

Hear = Callable[[Mapping[str, Any]], None]
Report = Callable[[bool, str], None]
"""Told whether messages come, and if not, why: once at each change."""


class Listener(Protocol):
    """Brings the messages of the groups that it is told to be in."""

    def enter(self, group: str) -> None:
        """Begin to listen to a group; it takes effect while ``run`` runs."""

    def leave(self, group: str) -> None:
        """Listen to a group no more."""

    async def entered(self, group: str) -> None:
        """Wait until every message that is sent to the group from now on comes, the layer permitting."""

    async def run(self) -> None:
        """Listen until cancelled; what is away is waited for."""


class _Path:
    """Whether messages come; reports each change once."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._ok = True

    def works(self) -> None:
        if not self._ok:
            self._ok = True
            self._report(True, "")

    def is_broken(self, why: BaseException) -> None:
        if self._ok:
            self._ok = False
            self._report(False, f"{type(why).__name__}: {why}" if str(why) else type(why).__name__)


# ── Reading Valkey ourselves ──────────────────────────────────────────────────────────────────────────────────


class ValkeyListener:
    """Subscribes to the layer's channels over a connection of its own."""

    def __init__(self, layer: Any, address: ValkeyAddress, hear: Hear, report: Report) -> None:
        self._layer = layer
        self._options: Mapping[str, Any] = parse_url(address.url)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
        self._hear = hear
        self._path = _Path(report)
        self._wanted: dict[str, asyncio.Event] = {}
        self._wire: _Wire | None = None

    def enter(self, group: str) -> None:
        channel = self._channel(group)
        if channel not in self._wanted:
            self._wanted[channel] = asyncio.Event()
            self._say("SUBSCRIBE", channel)

    def leave(self, group: str) -> None:
        channel = self._channel(group)
        if self._wanted.pop(channel, None) is not None:
            self._say("UNSUBSCRIBE", channel)

    async def entered(self, group: str) -> None:
        event = self._wanted.get(self._channel(group))
        if event is not None:
            await event.wait()

    async def run(self) -> None:
        while True:
            try:
                await self._listen()
            except AWAY as exc:
                self._path.is_broken(exc)
            await asyncio.sleep(RETRY_AFTER)

    async def _listen(self) -> None:
        wire = await self._connect()
        try:
            self._wire = wire
            self._say_hello()
            while True:
                await wire.pulse()
                self._path.works()
                await wire.lost(within=PULSE_EVERY)
        finally:
            self._wire = None
            wire.close()
            for joined in self._wanted.values():
                joined.clear()

    async def _connect(self) -> _Wire:
        loop = asyncio.get_running_loop()
        options = self._options
        async with asyncio.timeout(PULSE_DEADLINE):
            if "path" in options:
                _, wire = await loop.create_unix_connection(lambda: _Wire(self._take), options["path"])
            else:
                place = (options.get("host", "localhost"), options.get("port", 6379))
                _, wire = await loop.create_connection(lambda: _Wire(self._take), *place)
        return wire

    def _say_hello(self) -> None:
        password = self._options.get("password")
        if password is not None:
            username = self._options.get("username")
            self._say("AUTH", *([username] if username else []), password)
        if self._wanted:
            self._say("SUBSCRIBE", *self._wanted)

    def _say(self, *words: str) -> None:
        if self._wire is not None:
            self._wire.say(*words)

    def _take(self, kind: bytes, channel: bytes, payload: Any) -> None:
        if kind == b"message":
            self._hear(self._layer.deserialize(payload))
        elif kind == b"subscribe":
            joined = self._wanted.get(channel.decode())
            if joined is not None:
                joined.set()

    def _channel(self, group: str) -> str:
        return str(self._layer._get_group_channel_name(group))


class _Wire(asyncio.Protocol):
    """One connection to Valkey that is in subscribed mode."""

    def __init__(self, take: Callable[[bytes, bytes, Any], None]) -> None:
        self._take = take
        self._reader = hiredis.Reader()
        self._ended = asyncio.get_running_loop().create_future()
        self._pong: asyncio.Future[None] | None = None
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            if isinstance(reply, hiredis.ReplyError):
                self._end(reply)
            elif isinstance(reply, list) and reply[0] != b"pong":
                self._take(*reply)
            elif self._pong is not None and not self._pong.done() and reply != b"OK":
                self._pong.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionResetError("Valkey closed the connection"))

    def say(self, *words: str) -> None:
        if self._transport is not None:
            # Its stub knows tuples of one word only.
            self._transport.write(hiredis.pack_command(words))  # type: ignore[arg-type]

    async def pulse(self) -> None:
        """Return once Valkey has answered a ping; raises when it does not, or the connection has ended."""
        self._pong = asyncio.get_running_loop().create_future()
        self.say("PING")
        done, _ = await asyncio.wait(
            [self._pong, self._ended], timeout=PULSE_DEADLINE, return_when=asyncio.FIRST_COMPLETED
        )
        if self._ended in done:
            self._ended.result()
        if not done:
            raise TimeoutError("Valkey does not answer")

    async def lost(self, within: float) -> None:
        """Wait that many seconds; raises at once when the connection ends."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(self._ended), within)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
        self._ended.cancel()

    def _end(self, exc: Exception) -> None:
        if not self._ended.done():
            self._ended.set_exception(exc)
            self._ended.exception()


# ── Through the layer ─────────────────────────────────────────────────────────────────────────────────────────


class LayerListener:
    """Listens as a consumer does: through one channel of the layer, added to groups."""

    def __init__(self, layer: Any, hear: Hear, report: Report) -> None:
        self._layer = layer
        self._hear = hear
        self._path = _Path(report)
        self._wanted: dict[str, asyncio.Event] = {}
        self._members: set[str] = set()
        self._changed = asyncio.Event()
        self._probes: dict[str, asyncio.Future[None]] = {}
        self._channel = ""

    def enter(self, group: str) -> None:
        self._wanted.setdefault(group, asyncio.Event())
        self._changed.set()

    def leave(self, group: str) -> None:
        self._wanted.pop(group, None)
        self._changed.set()

    async def entered(self, group: str) -> None:
        event = self._wanted.get(group)
        if event is not None:
            await event.wait()

    async def run(self) -> None:
        await self._get_channel()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._receive())
            tasks.create_task(self._keep_membership())
            tasks.create_task(self._keep_pulse())

    async def _get_channel(self) -> None:
        while not self._channel:
            try:
                self._channel = await self._layer.new_channel()
            except AWAY as exc:
                self._path.is_broken(exc)
                await asyncio.sleep(RETRY_AFTER)

    async def _receive(self) -> None:
        while True:
            message = await self._layer.receive(self._channel)
            if message["type"] == groups.FEED_PROBE:
                self._probe_came_back(message["token"])
            else:
                self._hear(message)

    async def _keep_membership(self) -> None:
        """Bring the groups we are in to those that are wanted."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._change_membership()
            except AWAY as exc:
                self._path.is_broken(exc)
                await asyncio.sleep(PULSE_EVERY)
                self._changed.set()

    async def _change_membership(self) -> None:
        for group in self._members - self._wanted.keys():
            await self._layer.group_discard(group, self._channel)
            self._members.discard(group)
        entering = [group for group in self._wanted if group not in self._members]
        for group in entering:
            await self._layer.group_add(group, self._channel)
        await asyncio.gather(*(self._see_joined(group) for group in entering))

    async def _see_joined(self, group: str) -> None:
        """Wait until a message to the group comes back: ``group_add`` does not wait for the subscription."""
        await self._round_trip(lambda message: groups.send(self._layer, group, message))
        self._members.add(group)
        if group in self._wanted:
            self._wanted[group].set()

    async def _keep_pulse(self) -> None:
        """Send ourselves a message each second: when it does not come back, nothing does."""
        while True:
            await asyncio.sleep(PULSE_EVERY)
            try:
                await self._round_trip(lambda message: self._layer.send(self._channel, message))
            except AWAY as exc:
                self._path.is_broken(exc)
            else:
                self._path.works()

    async def _round_trip(self, send: Callable[[dict[str, Any]], Awaitable[None]]) -> None:
        """Send a probe and wait until it comes back; raises what the layer raises, or TimeoutError."""
        token = secrets.token_hex(8)
        back = self._probes[token] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(PULSE_DEADLINE):
                await send(groups.probe_message(token))
                await back
        finally:
            self._probes.pop(token, None)

    def _probe_came_back(self, token: str) -> None:
        probe = self._probes.pop(token, None)
        if probe is not None and not probe.done():
            probe.set_result(None)


def listener(layer: Any, address: ValkeyAddress, hear: Hear, report: Report) -> Listener:
    """Return the fastest listener that works for this address."""
    if address.url.startswith(("redis://", "unix://")) and not address.cluster:
        return ValkeyListener(layer, address, hear, report)
    return LayerListener(layer, hear, report)
