"""What the engine needs from a product, as four protocols. ``FLEETLIGHT_PRODUCT`` names the module that has them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from importlib import import_module
from typing import Any, NamedTuple, Protocol

from realtime import config
from realtime.events import Copy, Recording
from realtime.snapshot import Snapshot


class Audience(NamedTuple):
    """Whom entities concern, by their keys, as ids of users.

    ``seen``: who may see one. ``strange``: for one that nobody sees, the members of its organisation.
    """

    seen: Mapping[str, Collection[int]]
    strange: Mapping[str, Collection[int]]


class Recorder(Protocol):
    """Writes what arrives from upstream. Its methods run inside the caller's transaction, in a database thread."""

    def lock(self, copies: Sequence[Copy], snapshots: Sequence[Snapshot]) -> None:
        """Keep other workers from recording what these tell of, until the transaction ends.

        Called once, before anything else is recorded and before the moment of recording is taken: so of two that
        record the same, the later one sees what the earlier one wrote, and has the later moment.
        """

    def record(self, copies: Sequence[Copy], now: int) -> Recording:
        """Record a batch of copies by the merge rule; one draft for each copy, in their order.

        A copy whose source is wider than its user's view (GraphQL, the service link) and that tells of what is
        outside it has none.
        """

    def reconcile(self, user_id: int, snapshot: Snapshot, since: int, now: int) -> Recording:
        """Bring the state and this user's visibility to the snapshot.

        There is a draft for each entity that came, went, or has a field that was recorded, by whichever link, since
        ``since`` (µs): what this user's feed may lack. What the snapshot changed has drafts for everybody who sees it.
        """

    def organizations(self, user_id: int) -> list[str]:
        """Return the ids of the organisations whose news this user wants now, as recorded: GraphQL asks for these."""

    def audience(self, keys: Collection[str]) -> Audience:
        """Return whom these entities concern, as recorded."""

    def visible(self, user_id: int, keys: Collection[str]) -> set[str]:
        """Return those of the keys that tell of what this user may see, as recorded."""


class Access(Protocol):
    """Says who may have which topic."""

    def topics_for(self, user: Any) -> list[str]:
        """Return the topics of a session that asks for nothing."""

    def may_subscribe(self, user: Any, topic: str) -> bool:
        """Tell whether the user may have this topic."""


class State(Protocol):
    """Gives the current state for a browser."""

    def snapshot(self, user: Any) -> Mapping[str, Any]:
        """Return ``entities`` and ``meta`` of everything that the user may see."""


class Timeline(Protocol):
    """Keeps what entities were, beside what they are."""

    def forget(self, before: int, limit: int) -> int:
        """Delete at most ``limit`` lines recorded before ``before`` (µs), and return how many."""


class Product(Protocol):
    recorder: Recorder
    access: Access
    state: State
    timeline: Timeline


def load() -> Product:
    """Return the product that the settings name."""
    return import_module(config.load().product)
