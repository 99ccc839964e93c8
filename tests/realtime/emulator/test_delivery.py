"""Data frames that are lost, doubled and reordered as told."""

import pytest

pytestmark = pytest.mark.feature("S3.14")


@pytest.mark.parametrize(
    ("about", "events"),
    [
        ({"kind": "lose", "count": 1}, ["2", "3"]),
        ({"kind": "lose", "channel": "elsewhere"}, ["1", "2", "3"]),
        ({"kind": "duplicate", "count": 1}, ["1", "1", "2", "3"]),
        ({"kind": "shuffle", "count": 1}, ["2", "1", "3"]),
        ({"kind": "array-event", "count": 1}, [["1"], "2", "3"]),
        ({"kind": "oversize", "limit": 0}, []),
    ],
)
async def test_c13_faults_of_the_data(connect, key, fault, about, events):
    client = await connect(key)
    await client.subscribed("/default/a")
    await fault(**about)
    await client.publish("/default/a", "1", "2", "3")
    await client.until(type="publish_success")
    assert [f["event"] for f in client.frames if f["type"] == "data"] == events


async def test_c08_a_shuffled_event_that_nothing_overtakes_comes_a_little_later(connect, key, fault):
    client = await connect(key)
    await client.subscribed("/default/a")
    await fault("shuffle")
    await client.publish("/default/a", "1")
    await client.expect(type="publish_success")
    await client.expect(type="data", event="1")


async def test_a_late_event_is_overtaken_by_all_that_come_meanwhile(connect, key, fault):
    client = await connect(key)
    await client.subscribed("/default/a")
    await fault("late", count=1, delay=200)
    await client.publish("/default/a", "1", "2", "3")
    await client.until(type="data", event="1")
    assert [f["event"] for f in client.frames if f["type"] == "data"] == ["2", "3", "1"]
