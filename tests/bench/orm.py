"""The peer of the worker's write path: the same rows, by Django's bulk operations."""

from __future__ import annotations

import time
from collections.abc import Sequence

from django.db import transaction

from dashboard.models import Change, Field, Membership, Visibility
from realtime.decoding import decode, fact_of
from realtime.events import Copy, Draft, Entry, Fact, News
from realtime.feed import framed
from realtime.merge import newer, tie
from realtime.models import FeedEntry, Topic, Worker

VERSIONED = ("value", "time", "tie", "sourced", "changed_at", "confirmed_at", "heard_at", "recorded_at")


def record_batch(batch: Sequence[tuple[int, str, str]]) -> list[Entry]:
    """Record (user id, feed, payload) triples in one transaction and return their feed entries."""
    now = time.time_ns() // 1000
    facts = {event: fact_of(event[0], decode(*event)) for event in {(feed, payload) for _, feed, payload in batch}}
    copies = [Copy(user_id, facts[feed, payload], now, "events") for user_id, feed, payload in batch]
    with transaction.atomic():
        assert Worker.objects.filter(name="bench", fence=1).exists()
        _see(copies, now)
        drafts = _record(copies, now)
        return _append(drafts, now)


def _see(copies: Sequence[Copy], now: int) -> None:
    """Check who may see what, and grant what is seen for the first time."""
    users, keys = {copy.user_id for copy in copies}, {copy.fact.key for copy in copies}
    ended = {row.user_id for row in Membership.objects.filter(user__in=users) if row.ended_at is not None}
    seen = {(row.user_id, row.key): row.ended_at for row in Visibility.objects.filter(user__in=users, key__in=keys)}
    fresh = {(copy.user_id, copy.fact.key) for copy in copies if copy.user_id not in ended} - seen.keys()
    Visibility.objects.bulk_create(
        Visibility(user_id=user_id, key=key, org_id=key.split("/")[1], granted_at=now) for user_id, key in fresh
    )


def _record(copies: Sequence[Copy], now: int) -> list[Draft]:
    rows = Field.objects.filter(key__in={copy.fact.key for copy in copies})
    known = {(row.key, row.name): row for row in rows}
    touched: dict[tuple[str, str], Field] = {}
    changes = []
    for copy in copies:
        assert copy.fact.time is not None
        for name, text in copy.fact.fields:
            row = known.get((copy.fact.key, name))
            mark = tie(text)
            if row is None or newer((copy.fact.time, mark), (row.time, row.tie)):
                if row is None or row.value != text:
                    changes.append(
                        Change(
                            key=copy.fact.key,
                            name=name,
                            value=text,
                            time=copy.fact.time,
                            recorded_at=now,
                            source="events",
                        )
                    )
                row = Field(
                    key=copy.fact.key, name=name, value=text, time=copy.fact.time, tie=mark, changed_at=copy.fact.time
                )
                row.recorded_at = now
            row.heard_at = row.confirmed_at = now
            known[copy.fact.key, name] = touched[copy.fact.key, name] = row
    Field.objects.bulk_create(
        touched.values(), update_conflicts=True, unique_fields=["key", "name"], update_fields=VERSIONED
    )
    Change.objects.bulk_create(changes)
    news = {copy.fact: _news(copy.fact) for copy in copies}
    return [Draft(f"user.{copy.user_id}", news[copy.fact], copy.received) for copy in copies]


def _news(fact: Fact) -> News:
    assert fact.time is not None
    return News(
        key=fact.key,
        event_type=fact.event_type,
        priority=2,
        source="events",
        fields=tuple((name, text, fact.time, tie(text)) for name, text in fact.fields),
        source_time=fact.time,
    )


def _append(drafts: Sequence[Draft], now: int) -> list[Entry]:
    names = {draft.topic for draft in drafts}
    topics = {topic.name: topic for topic in Topic.objects.select_for_update().filter(name__in=names)}
    missing = [Topic(name=name) for name in sorted(names - topics.keys())]
    topics |= {topic.name: topic for topic in Topic.objects.bulk_create(missing)}
    entries = framed(drafts, {name: (topic.epoch, topic.head + 1) for name, topic in topics.items()}, now)
    for draft in drafts:
        topics[draft.topic].head += 1
    Topic.objects.bulk_update(topics.values(), ["head"])
    FeedEntry.objects.bulk_create(
        FeedEntry(
            topic_id=entry.topic,
            epoch=entry.epoch,
            offset=entry.offset,
            key=entry.key,
            priority=entry.priority,
            body=entry.body.decode(),
            at=now,
        )
        for entry in entries
    )
    return entries
