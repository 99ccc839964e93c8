"""Who should own which bucket: rendezvous hashing. A worker that comes or goes moves its own share and no other.

Each pair of bucket and worker has a weight that depends on nothing else; a bucket belongs to the living worker of the
highest weight. So workers that see the same others alive agree without talking to each other.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b


@lru_cache(maxsize=8)
def owners(buckets: int, workers: frozenset[str]) -> tuple[str, ...]:
    """Return the worker of each of the buckets ``0 … buckets - 1``; ``workers`` are the names of the living ones."""
    names = sorted(workers)
    return tuple(max(names, key=lambda name: _weight(bucket, name)) for bucket in range(buckets))


def _weight(bucket: int, worker: str) -> bytes:
    return blake2b(f"{bucket}/{worker}".encode(), digest_size=8).digest()
