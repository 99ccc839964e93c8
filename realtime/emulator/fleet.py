"""The fleet at work: carries operations out, keeps them, and publishes what they mean, in one step each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

import msgspec

from realtime.emulator.broker import Broker
from realtime.emulator.clock import SourceClock, iso
from realtime.emulator.faults import Faults
from realtime.emulator.journal import Journal
from realtime.emulator.mover import Mover
from realtime.emulator.world import AnyOperation, Notice, World, token_revoked

# Changes are made in batches this often when they are too many for a timer each (seconds).
SHORTEST_PAUSE = 0.01


class Fleet:
    """A world that lives. Nothing awaits between a change and its publishes, so no snapshot sees one without the other.

    ``listeners`` hear of each notice and its timestamped payload, after it was published on the people's channels.
    """

    def __init__(
        self,
        world: World,
        clock: SourceClock,
        *,
        broker: Broker,
        faults: Faults,
        root: str,
        journal: Journal | None = None,
        rng: Random | None = None,
        rate: float = 0.0,
    ) -> None:
        self.world = world
        self.clock = clock
        self.rate = rate
        self.paused = False
        self.listeners: list[Callable[[Notice, dict[str, Any]], None]] = []
        self._broker = broker
        self._faults = faults
        self._root = root
        self._journal = journal
        self._mover = Mover(world, rng or Random())
        self._woken = asyncio.Event()

    def carry_out(self, operation: AnyOperation) -> None:
        """Change the world and publish; raises WorldError, and then nothing has changed."""
        notices = self.world.apply(operation, self.clock.tick)
        if self._journal is not None:
            self._journal.append(operation)
        self._publish(notices)

    def tell_revoked(self, sub: str, reason: str) -> None:
        """Publish that a person's tokens were revoked."""
        self._publish([token_revoked(sub, reason, self.clock.tick)])

    def set_pace(self, *, rate: float | None = None, paused: bool | None = None) -> None:
        """Change how many changes a second are made, or whether any are."""
        self.rate = self.rate if rate is None else rate
        self.paused = self.paused if paused is None else paused
        self._woken.set()

    async def move(self) -> None:
        """Make changes at the wished rate until cancelled; one that was missed by a slow loop is made up for."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            if self.paused or self.rate <= 0:
                await self._wait(None)
                due = loop.time()
            while due <= loop.time() and self.rate > 0 and not self.paused:
                self._move_once()
                due += 1 / self.rate
            await self._wait(max(SHORTEST_PAUSE, due - loop.time()))

    def _move_once(self) -> None:
        operation = self._mover.choose()
        if operation is not None:
            self.carry_out(operation)

    async def _wait(self, seconds: float | None) -> None:
        """Sleep, but not through a change of pace."""
        self._woken.clear()
        try:
            await asyncio.wait_for(self._woken.wait(), seconds)
        except TimeoutError:
            return

    def _publish(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            payload = {**notice.payload, "timestamp": iso(notice.payload["timestamp"])}
            for sub in notice.subs:
                channel = f"/{self._root}/user/{sub}/{notice.feed}"
                self._broker.publish(channel, self._text(payload, sub, channel), sub=sub)
            for listener in self.listeners:
                listener(notice, payload)

    def _text(self, payload: dict[str, Any], sub: str, channel: str) -> str:
        if self._faults.standing and self._faults.match("no-timestamp", sub=sub, channel=channel):
            payload = {name: value for name, value in payload.items() if name != "timestamp"}
        return msgspec.json.encode(payload).decode()
