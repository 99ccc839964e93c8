"""How much one client may ask of this process. Pure: the time, in seconds, is an argument."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from realtime.token_bucket import TokenBucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The bounds of one process and of each of its sessions."""

    sessions: int = 10_000
    """Live sessions of this process."""
    sessions_per_user: int = 20
    """Live sessions of one user in this process: enough for many tabs, few enough to stop a loop of reloads."""
    commands_per_second: float = 20.0
    """What one session may send on average; four seconds of it may come at once."""
    command_bytes: int = 65_536
    """The largest client message."""
    malformed: int = 20
    """Messages without sense after which a session is closed."""
    outbox_entries: int = 2_000
    """Keys that may wait for a client that does not read."""
    outbox_bytes: int = 1_048_576
    """Bytes that may wait for a client that does not read."""
    recovery_entries: int = 5_000
    """Missed entries that are sent one by one; a client that missed more gets the snapshot, which is smaller."""
    held_entries: int = 2_000
    """Entries of a topic that may wait for a hole before them to be repaired."""
    stuck_seconds: float = 60.0
    """How long a client may read nothing while something waits for it."""
    heartbeat_seconds: float = 25.0
    """How often a silent stream shows that it is alive."""
    hidden_seconds: float = 5.0
    """How often a page that nobody sees gets what is not urgent."""
    recheck_seconds: float = 60.0
    """How often a session's sign-in is looked at again, apart from when its access changes."""


class Occupancy:
    """Counts the live sessions of this process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_user: Counter[int] = Counter()
        self._all = 0
        self._posts: dict[int, TokenBucket] = {}

    def enter(self, user_id: int) -> bool:
        """Count a session of the user, if there is room for it; whoever entered must ``leave``."""
        limits = self._limits
        if self._all >= limits.sessions or self._by_user[user_id] >= limits.sessions_per_user:
            return False
        self._all += 1
        self._by_user[user_id] += 1
        return True

    def leave(self, user_id: int) -> None:
        """Count the session no more."""
        self._all -= 1
        self._by_user[user_id] -= 1
        if not self._by_user[user_id]:
            del self._by_user[user_id]

    def wait_to_post(self, user_id: int, now: float) -> float:
        """Count a message that came without a session; return 0, or in how many seconds the user may send one."""
        rate = self._limits.commands_per_second
        if len(self._posts) >= self._limits.sessions:
            self._posts.clear()  # full buckets all of them, after a moment: nothing worth to keep
        return self._posts.setdefault(user_id, TokenBucket(rate, rate)).take(now)
