"""What passes in a topic, read from a real Valkey while a relay writes to it."""

import asyncio
import json

import pytest
from channels.layers import get_channel_layer
from django.core.management import call_command
from django.core.management.base import CommandError
from redis.exceptions import ConnectionError

from realtime import feed
from realtime.clock import now_us
from realtime.database import DatabaseThread
from realtime.models import Link
from realtime.relay import Relay
from realtime.valkey import connect
from tests.realtime.drafts import draft, write, write_many

pytestmark = [pytest.mark.feature("S4.13"), pytest.mark.django_db(transaction=True)]


@pytest.fixture
def viewer(django_user_model):
    user = django_user_model.objects.create_user("viewer", subject="sub-viewer")
    Link.objects.create(user=user, subject=user.subject)
    return user


@pytest.fixture
def afterwards(monkeypatch):
    """Have something happen as soon as the command knows where its topic stands."""

    def happens(act):
        heads = feed.heads

        def found(topics):
            monkeypatch.setattr(feed, "heads", heads)
            known = heads(topics)
            act()
            return known

        monkeypatch.setattr(feed, "heads", found)

    return happens


def relay(entries):
    async def relayed():
        database = DatabaseThread("relay")
        async with connect() as redis:
            relaying = Relay(redis, get_channel_layer(), database)
            relaying.push(entries)
            await relaying.flush()
        database.close()

    asyncio.run(relayed())


def tailed(capsys, *arguments):
    call_command("tail", *arguments)
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("name", ["viewer", "sub-viewer"])
def test_what_passes_from_now_on_is_printed_with_the_time_of_each_hop(valkey, viewer, afterwards, capsys, name):
    topic, now = f"user.{viewer.pk}", now_us()
    relay(write_many(topic, 3))
    afterwards(lambda: relay(write(draft(topic, 7, at=now - 5_000, online=False), at=now)))
    (line,) = tailed(capsys, name, "--count", "1", "--json")
    row = json.loads(line)
    assert (row["offset"], row["key"], row["fields"]) == (4, "device/org/d7", {"online": False})
    assert (row["upstream_ms"], row["record_ms"]) == (0, 5)
    assert row["relay_ms"] >= 0


def test_any_topic_is_followed_by_its_name_up_to_the_count(valkey, transactional_db, afterwards, capsys):
    write_many("broadcast", 1)
    afterwards(lambda: relay(write_many("broadcast", 3)))
    lines = tailed(capsys, "--topic", "broadcast", "--count", "2")
    assert [line.partition("  ")[0] for line in lines] == ["offset=2", "offset=3"]
    assert all("event=device/presenceChanged" in line for line in lines)


@pytest.mark.parametrize(
    ("arguments", "says", "status"),
    [
        ([], "--topic NAME", 2),
        (["viewer", "--topic", "broadcast"], "not both", 2),
        (["org-aurora"], "an organisation has no feed of its own", 1),
        (["viewer"], "has carried nothing yet", 1),
    ],
)
def test_what_can_not_be_followed_is_an_error_with_the_next_step(viewer, arguments, says, status):
    with pytest.raises(CommandError, match=says) as error:
        call_command("tail", *arguments)
    assert error.value.returncode == status


def test_a_valkey_that_is_away_is_told(viewer, monkeypatch):
    write_many(f"user.{viewer.pk}", 1)

    async def refused(*_):
        raise ConnectionError("refused")

    monkeypatch.setattr("redis.asyncio.Redis.xread", lambda *_, **__: refused())
    with pytest.raises(CommandError, match="REDIS_URL"):
        call_command("tail", "viewer")
