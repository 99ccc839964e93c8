"""A whole worker whose links lose their service together.

``python -m tests.bench.outage PORT LINKS`` keeps its links until it is stopped; what is measured is told by the
service that fails (``failing``).
"""

from __future__ import annotations

import asyncio
import sys

import django

from tests.bench.links import ours


async def keep(port: int, count: int) -> None:
    """Open the links and never let go of them."""
    async with ours(port, count) as opening:
        await opening()
        await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    django.setup()
    asyncio.run(keep(int(sys.argv[1]), int(sys.argv[2])))
