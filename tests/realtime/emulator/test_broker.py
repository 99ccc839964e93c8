"""Who gets what is published."""

import msgspec
import pytest

from realtime.emulator.broker import Broker, Subscription
from realtime.emulator.transcript import Transcript


class Heard(list):
    def deliver(self, subscription, event):
        self.append((subscription.id, msgspec.json.decode(event.encoded)))


@pytest.fixture
def broker():
    return Broker(Transcript())


@pytest.fixture
def heard():
    return Heard()


@pytest.mark.parametrize(
    ("pattern", "channel", "matches"),
    [
        ("/a/b", "/a/b", True),
        ("/a/b", "/a/B", False),
        ("/a/b", "/a/b/c", False),
        ("/a/*", "/a/b", True),
        ("/a/*", "/a/b/c/d", True),
        ("/a/*", "/a", False),
        ("/a/*", "/ab/c", False),
        ("/a/b/*", "/a/c/b", False),
    ],
)
def test_c07_a_pattern_takes_in_itself_or_all_below(broker, heard, pattern, channel, matches):
    broker.add(Subscription("s1", pattern, heard, 0.0))
    broker.publish(channel, '"x"')
    assert heard == ([("s1", '"x"')] if matches else [])


def test_each_subscription_gets_its_own_copy_until_it_is_removed(broker, heard):
    first, second = (Subscription(ident, "/a/b", heard, 0.0) for ident in ("s1", "s2"))
    broker.add(first)
    broker.add(second)
    broker.publish("/a/b", "1")
    broker.remove(first)
    broker.publish("/a/b", "2")
    broker.remove(second)
    broker.publish("/a/b", "3")
    assert heard == [("s1", "1"), ("s2", "1"), ("s2", "2")]
    assert broker.published == 3
