"""A link without a socket is as good a link as any: its manager can't tell."""

from math import inf
from random import Random

import pytest

from realtime.upstream.manager import Manager
from realtime.upstream.policy import preset
from realtime.upstream.shards import Shards
from realtime.upstream.states import State
from realtime.upstream.virtual import VirtualConnection, virtual
from tests.fakes import ManualClock, settle, tasks_but_mine

pytestmark = pytest.mark.feature("S4.4")

PATTERN = "/app/user/*"
DAY = 86_400.0


class Made:
    """A manager that runs a virtual connection; ``heard`` is what was handed on."""

    def __init__(self):
        self.clock = ManualClock()
        self.heard = self.clock.boottime()
        rng = Random(1)
        shards = Shards({"device/presenceChanged": PATTERN, "roleChanged": PATTERN}, rng)
        self.connection = VirtualConnection(None, shards, PATTERN, self.clock, lambda: self.heard)
        self.manager = Manager(self.connection, virtual(preset("full-jitter")), self.clock, rng, "sub")
        self.states = []
        self.manager.listen(lambda snapshot: self.states.append(snapshot.state))

    def statuses(self):
        return {(s.feed, s.target, s.status) for s in self.connection.subscriptions}


@pytest.fixture
async def made():
    made = Made()
    yield made
    await made.manager.stop()
    assert tasks_but_mine() == set()


@pytest.fixture
async def opened(made):
    made.manager.start()
    await settle()
    assert made.states[-1] is State.OPEN
    return made


async def test_it_is_open_as_soon_as_it_may_be_with_every_feed_live(opened):
    assert opened.statuses() == {("device/presenceChanged", PATTERN, "live"), ("roleChanged", PATTERN, "live")}
    assert opened.connection.is_open


async def test_a_shut_gate_lets_it_wait_and_says_why(opened):
    opened.manager.shut_gate("service link", "the service link is down")
    await settle()
    assert (opened.manager.snapshot.state, opened.manager.snapshot.reason) == (
        State.WAITING,
        "the service link is down",
    )
    assert not opened.connection.is_open
    assert {status for *_, status in opened.statuses()} == {"wanted"}
    opened.manager.open_gate("service link")
    await opened.clock.advance(2.0)
    assert opened.manager.snapshot.state is State.OPEN


async def test_it_is_never_silent_and_its_life_has_no_end(opened):
    opened.states.clear()
    await opened.clock.advance(30 * DAY)
    assert opened.states == [] and opened.manager.snapshot.rotates_at is None


async def test_it_has_heard_what_was_handed_on(opened):
    opened.heard += 7.0
    opened.connection.tell_heard()
    assert opened.manager.heard_at == opened.heard


async def test_it_can_be_replaced_and_is_open_all_the_while(opened):
    opened.states.clear()
    opened.manager.rotate("asked for")
    await settle()
    await opened.clock.advance(60.0)
    assert opened.manager.snapshot.rotations == 1 and set(opened.states) <= {State.OPEN}
    assert {status for *_, status in opened.statuses()} == {"live"}


async def test_what_is_wanted_while_it_is_open_is_live_at_once(opened):
    assert opened.connection.want({"archive/stateChanged": "/app/user/sub/archive/stateChanged"})
    assert opened.statuses() == {("archive/stateChanged", PATTERN, "live")}
    assert not opened.connection.want({"archive/stateChanged": "anything"})


def test_its_policy_leaves_out_what_is_the_shared_connections_business():
    policy = virtual(preset("full-jitter"))
    assert (policy.suspect_after, policy.lifetime, policy.breaker) == (inf, None, None)
    assert policy.resume_spread == preset("full-jitter").resume_spread
