"""A real web process on a real Valkey, and a writer of entries beside it, as a worker is."""

import time

import pytest
import pytest_asyncio
from channels.layers import get_channel_layer
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import Client

from realtime import feed
from realtime import valkey as valkey_client
from realtime.database import DatabaseThread
from realtime.events import PRIORITY_NORMAL, Draft, News
from realtime.merge import canonical, tie
from realtime.models import Worker
from realtime.relay import Relay
from tests.realtime.delivery.serving import Browser, WebProcess


@pytest.fixture
def started(valkey, transactional_db):
    """Starts web processes with the environment that the test wants; all must leave in an orderly way."""
    processes = []

    def start(**environment):
        processes.append(WebProcess(**environment).start())
        return processes[-1]

    yield start
    for web in processes:
        assert web.stop() == web.expected_status, "\n".join(web.log)


@pytest.fixture(scope="session")
def shared_server(django_db_setup, valkey_server):
    web = WebProcess().start()
    yield web
    assert web.stop() == 0, "\n".join(web.log)


@pytest.fixture
def server(shared_server, valkey, transactional_db):
    """A web process that other tests used and will use: leave it as it was."""
    return shared_server


@pytest.fixture
def viewer(transactional_db):
    return get_user_model().objects.create_user("viewer", subject="sub-viewer")


@pytest.fixture
def viewers_session(viewer):
    return sign_in(viewer)


@pytest.fixture
def rivals_session(transactional_db):
    return sign_in(get_user_model().objects.create_user("rival", subject="sub-rival"))


@pytest.fixture
def browser(server, viewers_session):
    return Browser(server, viewers_session)


def sign_in(user):
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client.session.session_key


@pytest_asyncio.fixture
async def writer(valkey, transactional_db):
    """Writes entries and relays them."""
    database = DatabaseThread("test-writer")
    redis = valkey_client.connect()
    layer = get_channel_layer()
    yield FeedWriter(database, Relay(redis, layer, database))
    await layer.flush()
    await redis.aclose()
    database.close()


class FeedWriter:
    def __init__(self, database, relay):
        self.database = database
        self.relay = relay

    async def write(self, topic, values, *, relayed=True, **draft):
        """Append one entry a (key, fields) pair in one transaction; relay them unless the test plays a loss."""
        entries = await self.database.run(self._append, [entry(topic, key, fields, **draft) for key, fields in values])
        if relayed:
            self.relay.push(entries)
            await self.relay.flush()
        return entries

    async def online(self, topic, number, value=True, **options):
        """Append one entry that a device came online, or went."""
        return await self.write(topic, [(f"device/org1/d{number}", {"online": value})], **options)

    async def beat(self):
        """Show a sign of life, as a worker does."""
        await self.database.run(
            lambda: Worker.objects.update_or_create(name="w1", defaults={"beat": time.time_ns() // 1000})
        )

    @staticmethod
    def _append(drafts):
        with transaction.atomic():
            return feed.append(drafts, time.time_ns() // 1000)


def entry(topic, key, fields, *, priority=PRIORITY_NORMAL, gone=False, at=None):
    at = time.time_ns() // 1000 if at is None else at
    texts = {name: canonical(value) for name, value in fields.items()}
    news = News(
        key=key,
        event_type="device/presenceChanged",
        priority=priority,
        source="events",
        fields=tuple((name, text, at, tie(text)) for name, text in texts.items()),
        gone=gone,
        source_time=at,
    )
    return Draft(topic, news, at)
