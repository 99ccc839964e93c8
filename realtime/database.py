"""One thread that owns one database connection, so that asyncio never waits for the database in the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from django.db import DatabaseError, InterfaceError, connection

P = ParamSpec("P")
T = TypeVar("T")


class DatabaseThread:
    """Runs functions one after the other in a dedicated thread with a connection of its own.

    The connection stays open between calls (opening SQLite anew each time was 18 % of a connect's cost) and is
    dropped after a database error, so that the next call meets a fresh one.
    """

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``function(*args, **kwargs)`` from the thread; what it raises is raised here."""

        def call() -> T:
            try:
                return function(*args, **kwargs)
            except (DatabaseError, InterfaceError):
                connection.close()
                raise

        return await asyncio.get_running_loop().run_in_executor(self._executor, call)

    def close(self) -> None:
        """Close the connection and end the thread; work that was handed in is finished first."""
        self._executor.submit(lambda: connection.close())  # of that thread: the name is looked up where it runs
        self._executor.shutdown(wait=True)
