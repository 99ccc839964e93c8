"""What all keepers of a worker are made of and share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

from realtime.appsync.endpoint import Endpoint
from realtime.bridge import Bridge
from realtime.product import Recorder
from realtime.service_link import ServiceLink
from realtime.snapshot import SnapshotProvider
from realtime.upstream.clock import Clock
from realtime.upstream.permits import Permits
from realtime.upstream.policy import Policy
from realtime.upstream.transport import Transport


@dataclass(frozen=True, slots=True)
class Parts:
    """``provider`` none means that gaps can only close as unknown. With a ``service`` link no link has a connection of
    its own. ``settle`` is for how many seconds a subscription may still miss things after it was accepted.
    """

    worker: str
    endpoint: Endpoint
    transport: Transport
    policy: Policy
    bridge: Bridge
    recorder: Recorder
    provider: SnapshotProvider | None
    clock: Clock
    rng: Random
    root: str
    settle: float
    permits: Permits
    organizations: Callable[[int], Awaitable[list[str]]]
    service: ServiceLink | None = None
