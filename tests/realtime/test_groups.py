"""What is published for a group, on a real Valkey and through the real layer."""

import asyncio

from channels.layers import get_channel_layer

from realtime import groups, valkey
from realtime.events import Entry

DEADLINE = 10


async def test_a_publication_arrives_as_if_the_layer_had_sent_it(valkey_server):
    layer, redis = get_channel_layer(), valkey.connect()
    channel = await layer.new_channel()
    await layer.group_add(groups.topic("user.1"), channel)
    message = groups.entries_message(
        "user.1", "e" * 16, [Entry("user.1", "e" * 16, 7, "device/o/d", 2, b'{"\xc3\xa9":1}')]
    )
    await groups.send(layer, groups.topic("user.1"), message)
    async with asyncio.timeout(DEADLINE):
        sent = await layer.receive(channel)
    assert await redis.publish(*groups.publication(layer, groups.topic("user.1"), message)) == 1
    async with asyncio.timeout(DEADLINE):
        assert await layer.receive(channel) == sent == message
    await layer.flush()
    await redis.aclose()
