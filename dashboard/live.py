"""What a page hands to its browser so that it can keep itself right: the cursor and the doors.

The cursor must be read before the page's state: an entry recorded in between is then applied twice, which the
merge rule makes harmless, and never missed.
"""

from __future__ import annotations

from dataclasses import dataclass

from django.conf import settings

from dashboard import access
from dashboard.models import User
from realtime import feed
from realtime.cursor import cursor_text


@dataclass(frozen=True, slots=True)
class Live:
    """The `data-*` attributes of a live page's body."""

    user: str
    cursor: str
    transports: str
    ws_url: str = "/ws/live/"
    sse_url: str = "/live/sse/"
    snapshot_url: str = "/live/snapshot/"


def begin(user: User) -> Live:
    """Read where the topics of `user` stand. Call it before reading anything that the page shows."""
    names = access.TopicAccess().topics_for(user)
    heads = feed.ensured_heads(names)
    place = cursor_text({name: (heads[name].epoch, heads[name].head) for name in names})
    return Live(user=str(user.pk), cursor=place, transports=",".join(settings.LIVE_TRANSPORTS))
