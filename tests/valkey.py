"""A real Valkey server under a test's control."""

import asyncio
import subprocess
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import ConnectionError as ValkeyConnectionError

from realtime import embedded_valkey

START_DEADLINE = 10


class ValkeyServer:
    """Listens on the Unix socket at `socket`; keeps nothing, so it is empty after each start."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.process = None

    @property
    def url(self):
        return f"unix://{self.socket}"

    def start(self):
        command = embedded_valkey.command(self.socket, self.socket.parent)
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + START_DEADLINE
        with self.client() as client:
            while not _answers(client):
                assert time.monotonic() < deadline, "Valkey did not start"
                time.sleep(0.01)

    def client(self):
        return Redis.from_url(self.url)

    def kill(self):
        """End it as a crash does: nothing is said to its clients."""
        self.process.kill()
        self.process.wait()

    async def restart(self):
        """Crash and start again without holding up the event loop."""
        self.kill()
        await asyncio.to_thread(self.start)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(START_DEADLINE)


def _answers(client):
    try:
        return client.ping()
    except ValkeyConnectionError:
        return False
