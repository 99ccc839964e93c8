from types import SimpleNamespace

import msgspec

from realtime import feed
from realtime.cursor import parse_cursor
from realtime.delivery import envelope, state
from realtime.models import Topic


def test_the_position_is_read_before_the_state(db):
    feed.ensure(["user.1"])

    def snapshot(user):
        Topic.objects.update(head=7)  # somebody writes meanwhile
        return {"entities": {"device/o/d": {"online": [True, 1, 2]}}, "meta": {}}

    product = SimpleNamespace(state=SimpleNamespace(snapshot=snapshot))
    frame = state.current(product, None, ["user.1"], 5)
    assert parse_cursor(frame.cursor)["user.1"][1] == 0
    assert msgspec.json.decode(envelope.encode(frame))["id"] == 5
