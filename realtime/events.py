"""What happened, as values: the nine upstream events, the copies in which they arrive, the drafts they become.

Nothing here does I/O. Field names on the wire are the upstream's; the assumptions made where its documents are silent
are listed in ``docs/reference/messages.md``. What a batch makes by the thousand is kept from the garbage collector,
which would go through all of it again and again: it holds no cycles.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

Id = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,63}$")]
Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]


MAX_LEVELS = 32
"""How deep a tree of settings may be nested: what is deeper could be kept, and then be read by nobody."""


class Event(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Common to all nine. ``timestamp`` is the source's; without one the time of receipt is used and marked so."""

    event_type: str | None = None
    timestamp: datetime | None = None
    schema_version: str | int | None = None


class DevicePresenceChanged(Event, frozen=True, kw_only=True, rename="camel"):
    org_id: Id
    device_id: Id
    online: bool


class DeviceRecordingChanged(Event, frozen=True, kw_only=True, rename="camel"):
    org_id: Id
    device_id: Id
    recording: bool | str


class DeviceFirmwareUpdated(Event, frozen=True, kw_only=True, rename="camel"):
    """``fw_update_state``: Idle, Downloading, Installing, Rebooting, Succeeded, Failed; other words are kept."""

    org_id: Id
    device_id: Id
    fw_update_state: str
    progress: Percent | None = None
    version: str | None = None


class ArchiveStateChanged(Event, frozen=True, kw_only=True, rename="camel"):
    """``state``: Queued, Processing, Ready, Failed, Expired; other words are kept."""

    org_id: Id
    archive_id: Id
    state: str
    device_id: Id | None = None
    progress: Percent | None = None


class LicensePhaseChanged(Event, frozen=True, kw_only=True, rename="camel"):
    """``license_phase``: SetupStatus, Valid, NoticePeriod, and words that are not known yet."""

    org_id: Id
    license_phase: str


class PlanChanged(Event, frozen=True, kw_only=True, rename="camel"):
    org_id: Id
    is_free_plan: bool


class AISettingsChanged(Event, frozen=True, kw_only=True, rename="camel"):
    """The settings' content is not documented: any tree is kept and shown as one."""

    org_id: Id
    ai_control_setting: dict[str, Any] = msgspec.field(name="AIControlSetting")

    def __post_init__(self) -> None:
        demand_shallow(self.ai_control_setting)


class RoleChanged(Event, frozen=True, kw_only=True, rename="camel"):
    """``role``: Owner, Admin, Supervisor, Viewer; none when the membership ended."""

    org_id: Id
    user_id: Id
    role: str | None = None


class TokenRevoked(Event, frozen=True, kw_only=True, rename="camel"):
    user_id: Id
    reason: str | None = None


def demand_shallow(tree: Any) -> None:
    """Raise ``msgspec.ValidationError`` for settings that are nested deeper than ``MAX_LEVELS``."""
    if not _is_within(MAX_LEVELS, tree):
        raise msgspec.ValidationError(f"Nested deeper than {MAX_LEVELS} levels - at `$.AIControlSetting`")


def _is_within(levels: int, tree: Any) -> bool:
    children = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    return levels >= 0 and all(_is_within(levels - 1, child) for child in children)


class Fact(NamedTuple):
    """What an event says, whoever hears of it: the fields it sets of one entity.

    ``fields`` holds (name, canonical JSON) pairs; ``time`` is the source's in microseconds, or none.
    """

    feed: str
    event_type: str
    key: str
    fields: tuple[tuple[str, str], ...]
    time: int | None
    urgent: bool

    def heard(self, *, user_id: int, received: int, source: str) -> Copy:
        """Return the fact as this user's copy."""
        return Copy(user_id, self, received, source)


class Copy(msgspec.Struct, frozen=True, gc=False):
    """A fact as it arrived on one user's channel at ``received`` (µs); ``source`` is the dialect it came through.

    The copies of an event in a batch share their fact, so that what follows from it is worked out once.
    """

    user_id: int
    fact: Fact
    received: int
    source: str

    @property
    def effective_time(self) -> int:
        """The time that decides: the source's, or without one that of the receipt."""
        time = self.fact.time
        return self.received if time is None else time


class News(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a feed entry tells, whoever is told of it. ``fields`` holds (name, JSON text, time, tie)."""

    key: str
    event_type: str
    priority: int
    source: str
    fields: tuple[tuple[str, str, int, int], ...] = ()
    gone: bool = False
    source_time: int | None = None


class Draft(msgspec.Struct, frozen=True, gc=False):
    """A feed entry before it has an offset. Entries that tell the same share their news: its text is made once."""

    topic: str
    news: News
    received: int


class Recording(msgspec.Struct):
    """What recording a batch came to: the drafts for the feed, whose view became narrower or wider, whose tokens the
    upstream revoked, and whose link has to ask a snapshot, because what came is not the whole truth: an entity never
    heard of, a new role, a doubtful time. People are ids of users. Of ``links``, by their ids, the own users are to be
    told."""

    drafts: list[Draft] = []
    links: set[int] = set()
    narrowed: set[int] = set()
    widened: set[int] = set()
    revoked: set[int] = set()
    doubtful: set[int] = set()
    changed: int = 0
    refused: int = 0


class Entry(msgspec.Struct, frozen=True, gc=False):
    """A feed entry: one frame of a topic, complete but for the time of its relay."""

    topic: str
    epoch: str
    offset: int
    key: str
    priority: int
    body: bytes


class Head(msgspec.Struct, frozen=True):
    """Where a topic stands: what the database says, never what a stream says."""

    epoch: str
    head: int
    floor: int
    access_version: int


PRIORITY_SYSTEM, PRIORITY_URGENT, PRIORITY_NORMAL, PRIORITY_LOW = range(4)
