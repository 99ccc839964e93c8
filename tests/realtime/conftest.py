"""A relay and its readers on a real Valkey."""

import pytest_asyncio
from channels.layers import get_channel_layer

from realtime import valkey as valkey_client
from realtime.database import DatabaseThread


@pytest_asyncio.fixture
async def database(transactional_db):
    thread = DatabaseThread("test")
    yield thread
    thread.close()


@pytest_asyncio.fixture
async def redis(valkey):
    client = valkey_client.connect()
    yield client
    await client.aclose()


@pytest_asyncio.fixture
async def layer(valkey):
    layer = get_channel_layer()
    yield layer
    await layer.flush()
