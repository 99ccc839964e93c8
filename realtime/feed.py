"""Feed entries: offsets given out in the writer's transaction, read back from any cursor.

The database is the truth. A topic's row gives a batch its range of offsets in one statement and stays locked until
the commit, so commit order is offset order and a reader never sees a hole that is later filled. All functions here
are synchronous: call them in a database thread.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count

import msgspec
from django.db import transaction

from realtime import sql
from realtime.events import Draft, Entry, Head, News
from realtime.models import FeedEntry, Topic, new_epoch

_json = msgspec.json.Encoder()


class CursorLost(LookupError):
    """What follows a cursor can't be given in full; ``cause`` says why and the reader needs a resync."""

    def __init__(self, cause: str) -> None:
        super().__init__(cause)
        self.cause = cause


def ensure(names: Iterable[str]) -> None:
    """Make the topics that do not exist yet."""
    Topic.objects.bulk_create([Topic(name=name) for name in sorted(set(names))], ignore_conflicts=True)


def heads(names: Iterable[str]) -> dict[str, Head]:
    """Return where the topics stand, in one query; a topic without a row is left out."""
    rows = Topic.objects.filter(name__in=list(names)).values_list("name", "epoch", "head", "floor", "access_version")
    return {name: Head(epoch, head, floor, access) for name, epoch, head, floor, access in rows}


def ensured_heads(names: Iterable[str]) -> dict[str, Head]:
    """As ``heads``, making the topics that do not exist yet."""
    wanted = set(names)
    found = heads(wanted)
    if len(found) < len(wanted):
        ensure(wanted - found.keys())
        found = heads(wanted)
    return found


def append(drafts: Sequence[Draft], now: int) -> list[Entry]:
    """Give each draft its offset and store it; ``now`` (µs) is the time of recording.

    Must run inside the transaction that writes the state the drafts tell of. Topics are locked in the order of their
    names, whoever writes, so that two writers can't wait for each other.
    """
    if not drafts:
        return []
    entries = framed(drafts, _take_offsets(Counter(draft.topic for draft in drafts)), now)
    _insert(entries, now)
    return entries


def read(topic: str, epoch: str, after: int, limit: int) -> list[Entry]:
    """Return at most ``limit`` entries of the topic above offset ``after``, in order, without a hole.

    Raises CursorLost if the cursor is of another epoch, above the head, below the floor or older than what is kept.
    """
    head = heads([topic]).get(topic)
    if head is None or head.epoch != epoch:
        raise CursorLost("epoch")
    if after > head.head:
        raise CursorLost("above-head")
    if after < head.floor:
        raise CursorLost("floor")
    found = FeedEntry.objects.filter(topic_id=topic, epoch=epoch, offset__gt=after).order_by("offset")[:limit]
    entries = [Entry(topic, epoch, row.offset, row.key, row.priority, row.body.encode()) for row in found]
    if after < head.head and (not entries or entries[0].offset != after + 1):
        raise CursorLost("retention")
    return entries


def unrelayed(older_than: int, limit: int) -> list[tuple[str, str, int, int]]:
    """Return (topic, epoch, relayed, head) of topics that have entries from before ``older_than`` (µs) to relay."""
    return sql.select(
        "SELECT name, epoch, relayed, head FROM realtime_topic WHERE relayed < head AND NOT EXISTS ("
        'SELECT 1 FROM realtime_feedentry WHERE topic_id = name AND "offset" = relayed + 1 AND at >= %s) LIMIT %s',
        older_than,
        limit,
    )


def mark_relayed(done: Mapping[tuple[str, str], int]) -> None:
    """Note how far topics, given as (name, epoch), are in their streams.

    They are locked in the order of their names, as by ``append``.
    """
    rows = [(name, epoch, offset) for (name, epoch), offset in done.items()]
    source = sql.rows({"name": "text", "epoch": "text", "done": "bigint"})
    sql.execute(
        "UPDATE realtime_topic SET relayed = behind.done FROM ("
        f"SELECT topic.name, new.done FROM realtime_topic AS topic JOIN {source} AS new "
        "ON topic.name = new.name AND topic.epoch = new.epoch AND topic.relayed < new.done "
        f"ORDER BY topic.name{sql.lock_rows('topic')}) AS behind WHERE realtime_topic.name = behind.name",
        rows,
    )


def renew_epoch(topic: str, epoch: str) -> None:
    """Begin a new life of the topic unless it has one already: this database was restored from an older copy.

    Somebody holds offsets above the head, so the head would give the same offsets out a second time.
    """
    with transaction.atomic():
        row = Topic.objects.select_for_update().get(name=topic)
        if row.epoch == epoch:
            row.epoch, row.floor, row.relayed = new_epoch(), row.head, row.head
            row.save(update_fields=["epoch", "floor", "relayed"])


def revoke(topics: Iterable[str]) -> None:
    """Raise the floor to the head, and the access version: nothing from before is replayed to an old cursor.

    Call it in the transaction that ends the visibility, after the entries that tell of the end were appended:
    a cursor from before them gets a resync, whose snapshot no longer holds what was revoked.
    """
    names = [(name,) for name in sorted(set(topics))]
    source = sql.rows({"name": "text"})
    sql.execute(
        "UPDATE realtime_topic SET floor = head, access_version = access_version + 1 "
        f"WHERE name IN (SELECT name FROM {source} AS revoked)",
        names,
    )


def _take_offsets(wanted: Mapping[str, int]) -> dict[str, tuple[str, int]]:
    """Return topic → (epoch, first offset of its range), making topics that do not exist yet."""
    source = sql.rows({"name": "text", "epoch": "text", "n": "bigint"})
    taken = sql.fetch(
        "INSERT INTO realtime_topic (name, epoch, head, relayed, floor, access_version) "
        f"SELECT name, epoch, n, 0, 0, 0 FROM {source} AS wanted WHERE true "
        "ON CONFLICT (name) DO UPDATE SET head = realtime_topic.head + excluded.head "
        "RETURNING name, epoch, head",
        [(name, new_epoch(), n) for name, n in sorted(wanted.items())],
    )
    return {name: (epoch, head - wanted[name] + 1) for name, epoch, head in taken}


def framed(drafts: Sequence[Draft], places: Mapping[str, tuple[str, int]], now: int) -> list[Entry]:
    """Return the drafts as frames, in order; ``places`` has for each topic its epoch and the first offset to give."""
    heads = {
        topic: f'{{"v":1,"type":"event","topic":"{topic}","epoch":"{epoch}","offset":'
        for topic, (epoch, _) in places.items()
    }
    following = {topic: count(first) for topic, (_, first) in places.items()}
    texts: dict[int, str] = {}
    entries = []
    for draft in drafts:
        topic, news, received = draft.topic, draft.news, draft.received
        offset = next(following[topic])
        text = texts.get(id(news)) or texts.setdefault(id(news), _text(news))
        body = f'{heads[topic]}{offset},{text}"received":{received},"recorded":{now}}}}}'
        entries.append(Entry(topic, places[topic][0], offset, news.key, news.priority, body.encode()))
    return entries


def _text(news: News) -> str:
    """Return what the frames of all who are told this news have in common."""
    fields = ",".join(f'"{name}":[{text},{time},{tie}]' for name, text, time, tie in news.fields)
    return (
        f'"key":"{news.key}","event":"{news.event_type}","urgent":{"true" if news.priority <= 1 else "false"},'
        f'"source":"{news.source}","fields":{{{fields}}}{GONE if news.gone else ""},'
        f'"at":{{"source":{"null" if news.source_time is None else news.source_time},'
    )


GONE = ',"gone":true'


def _insert(entries: Sequence[Entry], now: int) -> None:
    sql.insert(
        "realtime_feedentry",
        {
            "topic_id": "text",
            "epoch": "text",
            "offset": "bigint",
            "key": "text",
            "priority": "bigint",
            "body": "text",
            "at": "bigint",
        },
        [(e.topic, e.epoch, e.offset, e.key, e.priority, e.body.decode(), now) for e in entries],
    )
