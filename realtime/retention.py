"""Deletes what is older than its limit, a little at a time, so that no writer waits long for it. An hourly round.

One worker makes it and the others stand by. What is kept but out of date is renewed in the same round: tokens that an
older TOKEN_KEY sealed.

A feed is shortened only from its beginning, so that what is left has no hole: a cursor from before it gets a resync.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from django.db import DatabaseError
from django.db.models import F, Max, QuerySet

from realtime import credentials
from realtime.clock import now_us
from realtime.config import RetentionConfig
from realtime.database import DatabaseThread
from realtime.models import Drift, FeedEntry, Gap, Transition, UndecodablePayload
from realtime.product import Timeline

logger = logging.getLogger(__name__)

BATCH = 1_000
"""Rows in one statement: a transaction of some milliseconds."""

EVERY = 3600.0
"""Seconds between two rounds."""

LOOK_EVERY = 5.0
"""Seconds between two looks at whether this worker is the one that makes them."""

HOUR = 3_600_000_000
DAY = 24 * HOUR


async def keep_short(limits: RetentionConfig, timeline: Timeline, is_ours: Callable[[], bool]) -> None:
    """Make a round now and every hour while it ``is_ours``; never returns. Between batches others may write."""
    database = DatabaseThread("retention")
    made_at = float("-inf")
    try:
        while True:
            if is_ours() and time.monotonic() - made_at >= EVERY:
                made_at = time.monotonic()
                await _one_round(limits, timeline, database)
            await asyncio.sleep(LOOK_EVERY)
    finally:
        database.close()


async def _one_round(limits: RetentionConfig, timeline: Timeline, database: DatabaseThread) -> None:
    deleted: Counter[str] = Counter()
    try:
        while batch := await database.run(delete_batch, limits, timeline, now_us()):
            deleted.update(batch)
        if resealed := await database.run(credentials.reseal):
            logger.info("sealed the tokens of %d users with the newest TOKEN_KEY", resealed)
    except DatabaseError as error:
        logger.warning("what is too old could not be deleted (%s): it will be next time", error)
    if deleted:
        logger.info("deleted what was too old: %s", ", ".join(f"{n} {what}" for what, n in deleted.items()))


def delete_batch(limits: RetentionConfig, timeline: Timeline, now: int) -> Counter[str]:
    """Delete at most `BATCH` rows of each kind; `now` is in µs.

    Returns how many of each kind, without those of which there were none: nothing at all once all is done.
    """
    timeline_before = now - int(limits.timeline_days * DAY)
    diagnostics_before = now - int(limits.diagnostics_days * DAY)
    closed = Gap.objects.filter(closed_at__lt=diagnostics_before)
    return +Counter(
        {
            "feed entries": _shorten_feeds(limits, now),
            "timeline entries": timeline.forget(timeline_before, BATCH),
            "transitions": _delete(Transition.objects.filter(at__lt=diagnostics_before)),
            "unreadable payloads": _delete(UndecodablePayload.objects.filter(at__lt=diagnostics_before)),
            "kinds of drift": _delete(Drift.objects.filter(last_at__lt=diagnostics_before)),
            "closed gaps": _delete(closed.exclude(outcome=Gap.Outcome.OPEN)),
        }
    )


def _shorten_feeds(limits: RetentionConfig, now: int) -> int:
    old = FeedEntry.objects.filter(at__lt=now - int(limits.feed_hours * HOUR))
    surplus = FeedEntry.objects.filter(offset__lte=F("topic__head") - limits.feed_entries)
    deleted = 0
    for entries in (old, surplus):
        # What is not yet in its stream is still needed by the relay, however old.
        relayed = entries.filter(offset__lte=F("topic__relayed")).order_by()
        for topic, last in relayed.values_list("topic_id").annotate(Max("offset")):
            deleted += _shorten_feed(topic, last, BATCH - deleted)
            if deleted >= BATCH:
                return deleted
    return deleted


def _shorten_feed(topic: str, last: int, limit: int) -> int:
    entries = FeedEntry.objects.filter(topic_id=topic, offset__lte=last)
    bound = entries.order_by("offset").values_list("offset", flat=True)[limit - 1 : limit].first()
    deleted, _ = entries.filter(offset__lte=last if bound is None else bound).delete()
    return deleted


def _delete(rows: QuerySet[Any]) -> int:
    some = list(rows.values_list("pk", flat=True)[:BATCH])
    count: int = rows.model._default_manager.filter(pk__in=some).delete()[0]
    return count
