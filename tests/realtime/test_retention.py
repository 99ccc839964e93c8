"""What is too old is deleted, and nothing else; a feed never gets a hole."""

import asyncio
from types import SimpleNamespace

import pytest
from django.db import OperationalError

from dashboard.models import Change, Refused, User
from dashboard.retention import ChangeTimeline
from realtime import credentials, feed, retention
from realtime.config import RetentionConfig
from realtime.models import FeedEntry, Gap, Link, Topic, Transition, UndecodablePayload
from tests.realtime.emulator.client import eventually

pytestmark = pytest.mark.django_db

NOW = 1_800_000_000_000_000
LIMITS = RetentionConfig(feed_hours=24, feed_entries=100, timeline_days=90, diagnostics_days=30)


def hours(n):
    return NOW - n * retention.HOUR


def days(n):
    return NOW - n * retention.DAY


def clean(limits=LIMITS):
    """Delete until there is nothing more to delete, and return how many of what."""
    total = retention.Counter()
    while batch := retention.delete_batch(limits, ChangeTimeline(), NOW):
        total.update(batch)
    return total


def fill(*times, relayed=True):
    """A topic with one entry recorded at each of these times."""
    topic = Topic.objects.create(name="user.1", head=len(times), relayed=len(times) if relayed else 0)
    FeedEntry.objects.bulk_create(
        FeedEntry(topic=topic, offset=n, epoch=topic.epoch, key="k", priority=2, body="{}", at=at)
        for n, at in enumerate(times, 1)
    )
    return topic


def offsets():
    return list(FeedEntry.objects.order_by("offset").values_list("offset", flat=True))


@pytest.fixture
def link():
    return Link.objects.create(user=User.objects.create(username="viewer"), subject="sub-viewer")


def test_old_feed_entries_go():
    fill(hours(30), hours(25), hours(23), hours(1))
    assert clean() == {"feed entries": 2}
    assert offsets() == [3, 4]


def test_a_feed_keeps_no_hole_when_clocks_disagreed():
    fill(hours(30), hours(23), hours(25), hours(1))
    clean()
    assert offsets() == [4]


def test_the_newest_entries_of_a_busy_feed_are_kept():
    fill(*[hours(1)] * 130)
    assert clean() == {"feed entries": 30}
    assert offsets() == list(range(31, 131))


def test_a_reader_from_before_is_told():
    topic = fill(hours(30), hours(1))
    clean()
    with pytest.raises(feed.CursorLost, match="retention"):
        feed.read(topic.name, topic.epoch, 0, 10)
    assert [entry.offset for entry in feed.read(topic.name, topic.epoch, 1, 10)] == [2]


def test_what_is_not_relayed_yet_is_kept_however_old():
    fill(hours(30), hours(29), relayed=False)
    assert clean() == {}
    assert offsets() == [1, 2]


def test_large_amounts_are_deleted_in_batches(monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 10)
    fill(*[hours(30)] * 25, hours(1))
    assert retention.delete_batch(LIMITS, ChangeTimeline(), NOW) == {"feed entries": 10}
    assert offsets()[0] == 11
    assert clean() == {"feed entries": 15}


def test_timelines_have_their_own_limit():
    for at in (days(91), days(89)):
        Change.objects.create(key="k", name="online", value="true", time=at, recorded_at=at, source="events")
        Refused.objects.create(
            key="k", name="online", value="true", time=at, recorded_at=at, reason="older", source="events"
        )
    assert clean() == {"timeline entries": 2}
    assert Change.objects.get().recorded_at == Refused.objects.get().recorded_at == days(89)


def test_diagnostics_have_their_own_limit(link):
    for at in (days(31), days(29)):
        Transition.objects.create(link=link, at=at, state="open")
        UndecodablePayload.objects.create(link=link, feed="roleChanged", at=at, error="?", payload="{")
        Gap.objects.create(link=link, cause="drop", started_at=at, closed_at=at, outcome=Gap.Outcome.REPAIRED)
    assert clean() == {"transitions": 1, "unreadable payloads": 1, "closed gaps": 1}


def test_an_open_gap_is_never_forgotten(link):
    Gap.objects.create(link=link, cause="drop", started_at=days(400))
    assert clean() == {}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("resealed", [0, 3])
async def test_a_workers_round_brings_tokens_to_the_newest_key(database, monkeypatch, caplog, resealed):
    monkeypatch.setattr(credentials, "reseal", lambda: resealed)
    with caplog.at_level("INFO", "realtime.retention"):
        await retention._one_round(LIMITS, ChangeTimeline(), database)
    assert ("sealed the tokens of 3 users" in caplog.text) is bool(resealed)


@pytest.mark.django_db(transaction=True)
async def test_a_round_that_the_database_refuses_is_made_up_for_by_the_next(database, monkeypatch, caplog):
    def away():
        raise OperationalError("away")

    monkeypatch.setattr(credentials, "reseal", away)
    await retention._one_round(LIMITS, ChangeTimeline(), database)
    assert "it will be next time" in caplog.text


@pytest.fixture
def keeping(monkeypatch):
    """Keep things short while the answer to whether that is ours may change; give the answer, and the rounds made."""
    monkeypatch.setattr(retention, "LOOK_EVERY", 0.001)
    here = SimpleNamespace(ours=False, asked=0, rounds=0)

    def is_ours():
        here.asked += 1
        return here.ours

    async def one_round(limits, timeline, database):
        here.rounds += 1

    monkeypatch.setattr(retention, "_one_round", one_round)
    here.keep = lambda: retention.keep_short(LIMITS, ChangeTimeline(), is_ours)
    return here


async def looks(keeping, times):
    wanted = keeping.asked + times
    await eventually(lambda: keeping.asked >= wanted)


async def test_a_round_is_made_by_the_worker_whose_it_is_and_again_in_an_hour(keeping, monkeypatch):
    task = asyncio.create_task(keeping.keep())
    await looks(keeping, 5)
    assert keeping.rounds == 0
    keeping.ours = True
    await looks(keeping, 5)
    assert keeping.rounds == 1
    monkeypatch.setattr(retention, "EVERY", 0.0)
    await looks(keeping, 5)
    assert keeping.rounds > 1
    task.cancel()
    await asyncio.wait([task])
