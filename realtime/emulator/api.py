"""What the endpoints and sessions of one emulator share."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from realtime.emulator.auth import Authorizer
from realtime.emulator.broker import Broker
from realtime.emulator.faults import Faults
from realtime.emulator.issuer import Issuer
from realtime.emulator.options import Options
from realtime.emulator.rate import Rate
from realtime.emulator.transcript import Transcript
from realtime.emulator.world import World

if TYPE_CHECKING:
    from realtime.emulator.graphql import GraphQLBroker
    from realtime.emulator.session import Session


@dataclass(slots=True)
class Api:
    """One emulated API. ``sessions`` are the live ones by connection id; ``delivered`` counts data frames by sub.

    ``events`` and ``connections`` are how many published events and new connections a second it takes.
    """

    options: Options
    issuer: Issuer
    authorizer: Authorizer
    faults: Faults
    transcript: Transcript
    broker: Broker
    graphql: GraphQLBroker
    world: World
    sessions: dict[str, Session] = field(default_factory=dict)
    delivered: dict[str | None, int] = field(default_factory=dict)
    refused: int = 0
    events: Rate = field(init=False)
    connections: Rate = field(init=False)
    _ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.events = Rate(self.options.limits.events_per_second)
        self.connections = Rate(self.options.limits.connections_per_second)

    def next_connection_id(self) -> str:
        return f"c{next(self._ids)}"
