"""Keeps a few processes alive as one tree: starts them in order, starts again what dies, leaves none behind.

Each part runs in a process group of its own, so that Ctrl-C in a terminal reaches the supervisor alone, which
then stops the parts in order; and each is tied to the supervisor's life (`tether`), so that none outlives it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import suppress

from realtime import tether

MAX_DEATHS = 3
DEATHS_WITHIN = 60.0
RESTART_PAUSE = 0.3  # long enough for a killed server's port to be free again
STOP_GRACE = 10.0
READY_DEADLINE = 60.0
OUTPUT_CHUNK = 65_536

Say = Callable[[str, str], None]


class PartFailed(Exception):
    """A part died too often, or was not ready in time; the text says which one and what to look at."""


class Part:
    """One supervised process.

    Args:
        name: what log lines call it.
        command: gives the program and its arguments, anew at each start.
        environment: what to add to the environment, asked for at each start.
        ready: returns once the part can be used; is cancelled when the part ends first.
        hears: gets each line that the part prints, and tells whether it is worth passing on.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[], list[str]],
        *,
        ready: Callable[[], Awaitable[None]],
        environment: Callable[[], Mapping[str, str]] = dict,
        hears: Callable[[str], bool] = lambda line: True,
    ) -> None:
        self.name = name
        self.command = command
        self.environment = environment
        self.ready = ready
        self.hears = hears
        self.process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None


class Supervisor:
    """Runs parts until one fails for good or `stop` is called.

    Args:
        say: called with a part's name and a line, for what parts print and for what happens to them.
        changed: called after each start and end of a part.
    """

    def __init__(self, say: Say, changed: Callable[[], None]) -> None:
        self._say = say
        self._changed = changed
        self._stopping = asyncio.Event()
        self._keepers: dict[Part, asyncio.Task[None]] = {}
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def parts(self) -> list[Part]:
        return list(self._keepers)

    async def start(self, part: Part) -> None:
        """Start `part` and wait until it is ready.

        Raises:
            PartFailed: it ended `MAX_DEATHS` times, or was not ready in time.
        """
        keeper = asyncio.create_task(self._keep(part), name=f"keep {part.name}")
        keeper.add_done_callback(self._note_failure)
        self._keepers[part] = keeper
        ready = asyncio.ensure_future(part.ready())
        await asyncio.wait({keeper, ready}, timeout=READY_DEADLINE, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            if keeper.done():
                await keeper
            raise PartFailed(f"{part.name} was not ready within {READY_DEADLINE:.0f} seconds. Its lines say why.")
        await ready

    async def wait(self) -> None:
        """Wait for a part to fail for good.

        Raises:
            PartFailed: always.
        """
        await asyncio.shield(self._failure)

    async def stop(self) -> None:
        """End all parts, the last started first. Returns when no process is left."""
        self._stopping.set()
        for part, keeper in reversed(self._keepers.items()):
            await self._end(part, keeper)
        if self._failure.done():
            self._failure.exception()  # it was told by `start` or `wait`, or the stop came first

    def kill(self) -> None:
        """End all parts at once, for someone who will not wait."""
        for part in self._keepers:
            self._signal(part, signal.SIGKILL)

    async def _keep(self, part: Part) -> None:
        deaths: deque[float] = deque(maxlen=MAX_DEATHS)
        while not self._stopping.is_set():
            status = await self._run(part)
            if self._stopping.is_set():
                return
            deaths.append(time.monotonic())
            if len(deaths) == MAX_DEATHS and deaths[-1] - deaths[0] < DEATHS_WITHIN:
                raise PartFailed(f"{part.name} ended {MAX_DEATHS} times within a minute. Its last lines say why.")
            self._say(part.name, f"{_ending(status)}; it is started again")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), RESTART_PAUSE)

    async def _run(self, part: Part) -> int:
        part.process = await asyncio.create_subprocess_exec(
            *tether.command(os.getpid(), part.command()),
            env={**os.environ, **part.environment(), tether.PARENT_VARIABLE: str(os.getpid())},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            process_group=0,
        )
        self._changed()
        if self._stopping.is_set():  # the stop came while this one was being started
            part.process.terminate()
        async for line in _lines(part.process):
            if part.hears(line):
                self._say(part.name, line)
        status = await part.process.wait()
        self._changed()
        return status

    async def _end(self, part: Part, keeper: asyncio.Task[None]) -> None:
        self._signal(part, signal.SIGTERM)
        _, running = await asyncio.wait({keeper}, timeout=STOP_GRACE)
        if running:
            self._say(part.name, f"did not end within {STOP_GRACE:.0f} seconds; it is killed")
            self._signal(part, signal.SIGKILL)
            await asyncio.wait({keeper})

    def _signal(self, part: Part, number: signal.Signals) -> None:
        if part.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(part.pid, number)

    def _note_failure(self, keeper: asyncio.Task[None]) -> None:
        if not keeper.cancelled() and (error := keeper.exception()) and not self._failure.done():
            self._failure.set_exception(error)


async def _lines(process: asyncio.subprocess.Process) -> AsyncIterator[str]:
    """Yield what the process prints, line by line, however long a line is."""
    assert process.stdout is not None
    rest = b""
    while chunk := await process.stdout.read(OUTPUT_CHUNK):
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode(errors="replace")
    if rest:
        yield rest.decode(errors="replace")


def _ending(status: int) -> str:
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with status {status}"
