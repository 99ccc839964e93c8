"""Data frames on their way out, as far as the standing faults let them through; the same in both dialects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from realtime.emulator.api import Api
from realtime.emulator.faults import SHUFFLE_HOLD, Fault, Kind
from realtime.emulator.websocket import WebSocket


@dataclass(frozen=True, slots=True)
class DataFrame:
    """One event for one subscription. ``since`` is when that was accepted (loop time), ``size`` the event's bytes."""

    subscription: str
    since: float
    channel: str
    number: int
    size: int
    text: bytes


class Delivery:
    """Writes a session's data frames, or loses, doubles and reorders them as told."""

    def __init__(self, api: Api, socket: WebSocket, connection: str, sub: str | None) -> None:
        self._api = api
        self._socket = socket
        self._connection = connection
        self._sub = sub
        self._held: DataFrame | None = None
        self._loop = asyncio.get_running_loop()

    def send(self, frame: DataFrame) -> None:
        """Send one frame; with no fault standing it goes straight out."""
        if not self._api.faults.standing and self._held is None:
            self._write(frame)
        elif not self._is_lost(frame):
            self._send_misbehaved(frame)

    def _send_misbehaved(self, frame: DataFrame) -> None:
        if self._held is None and self._hit("shuffle", frame):
            self._held = frame
            self._loop.call_later(SHUFFLE_HOLD / 1000, self._release)
            return
        if fault := self._match("late", frame):
            self._loop.call_later(fault.delay / 1000, self._write, frame)
            return
        self._write(frame)
        if self._hit("duplicate", frame):
            self._write(frame)
        self._release()

    def _is_lost(self, frame: DataFrame) -> bool:
        checks: tuple[tuple[Kind, Callable[[int, int], bool]], ...] = (
            ("settle", lambda delay, _: self._loop.time() < frame.since + delay / 1000),
            ("oversize", lambda _, limit: frame.size > limit),
            ("silence", lambda *_: True),
            ("lose", lambda *_: True),
        )
        for kind, loses in checks:
            fault = self._match(kind, frame)
            if fault is not None and loses(fault.delay, fault.limit):
                return True
        return False

    def _hit(self, kind: Kind, frame: DataFrame) -> bool:
        return self._match(kind, frame) is not None

    def _match(self, kind: Kind, frame: DataFrame) -> Fault | None:
        return self._api.faults.match(kind, sub=self._sub, connection=self._connection, channel=frame.channel)

    def _release(self) -> None:
        if self._held is not None:
            held, self._held = self._held, None
            self._write(held)

    def _write(self, frame: DataFrame) -> None:
        if not self._socket.open:
            return
        self._socket.send_text(frame.text)
        self._api.delivered[self._sub] = self._api.delivered.get(self._sub, 0) + 1
        self._api.transcript.add(
            "delivered",
            connection=self._connection,
            sub=self._sub,
            channel=frame.channel,
            subscription=frame.subscription,
            number=frame.number,
            frame=msgspec.Raw(frame.text),
        )
