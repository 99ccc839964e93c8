"""Answers many waiting askers with one look: what comes while a look is under way waits for the next one.

A storm of reconnects asks the same few questions thousands of times. Asked one by one they were the whole cost of a
connect; asked together they are two queries a batch, and a lone asker waits no longer than before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Batch(Generic[K, V]):
    """``look`` is given the keys that wait, each once, and returns what it found; a missing key is None."""

    def __init__(self, look: Callable[[Sequence[K]], Awaitable[Mapping[K, V]]], *, size: int = 500) -> None:
        self._look = look
        self._size = size
        self._waiting: dict[K, asyncio.Future[V | None]] = {}
        self._task: asyncio.Task[None] | None = None

    async def ask(self, key: K) -> V | None:
        """Return what a look that begins after this call finds for the key; raises what the look raises."""
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await asyncio.shield(future)

    async def _run(self) -> None:
        while self._waiting:
            keys = list(self._waiting)[: self._size]
            futures = {key: self._waiting.pop(key) for key in keys}
            try:
                found = await self._look(keys)
            except Exception as exc:
                # Handed on to all who asked; whoever gave up meanwhile no longer cares.
                for future in futures.values():
                    future.set_exception(exc)
                    future.exception()
            else:
                for key, future in futures.items():
                    future.set_result(found.get(key))
        self._task = None
