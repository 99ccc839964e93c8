"""Entries as tests write them."""

import time

from django.db import transaction

from realtime import feed
from realtime.events import PRIORITY_NORMAL, Draft, News
from realtime.merge import canonical, tie


def now_us():
    return time.time_ns() // 1000


def draft(topic="user.1", number=1, *, at=None, gone=False, priority=PRIORITY_NORMAL, **fields):
    """One entry of device ``number``; online unless ``fields`` say something else."""
    at = now_us() if at is None else at
    texts = {name: canonical(value) for name, value in (fields or {"online": True}).items()}
    news = News(
        key=f"device/org/d{number}",
        event_type="device/presenceChanged",
        priority=priority,
        source="events",
        fields=tuple((name, text, at, tie(text)) for name, text in texts.items()),
        gone=gone,
        source_time=at,
    )
    return Draft(topic, news, at)


def write(*drafts, at=None):
    """Append in a transaction, as a recorder does."""
    with transaction.atomic():
        return feed.append(drafts, now_us() if at is None else at)


def write_many(topic, count, at=None):
    return write(*(draft(topic, number) for number in range(1, count + 1)), at=at)
