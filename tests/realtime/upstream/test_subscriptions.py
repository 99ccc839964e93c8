"""What a link is to hear, against a session: one feed's failure is its own, and a new session asks for everything."""

from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from realtime.appsync.session import SubscriptionChanged
from realtime.appsync.states import SessionState
from realtime.upstream.subscriptions import RETRY, STABLE_AFTER, Subscriptions
from tests.realtime.appsync.talking import KEY, Talk

FEEDS = {feed: f"/app/sub-1/{feed}" for feed in ("presence", "archive", "role")}


class Held:
    """Subscriptions on an open session; ``hear`` hands on what the session makes of a frame."""

    def __init__(self, wanted=FEEDS):
        self.now = 0.0
        self.sessions = 0
        self.subscriptions = Subscriptions(wanted, Random(1))
        self.begin()

    def begin(self):
        self.sessions += 1
        self.subscriptions = self.subscriptions.successor()
        self.talk = Talk.open(f"session-{self.sessions}")
        self.subscriptions.begin(self.talk.session, KEY, self.now)

    def hear(self, kind, feed, error=None):
        errors = [{"errorType": error}] if error else []
        self.talk.hear(self.now, type=kind, id=self[feed].ident, errors=errors)
        self.hand_on()

    def hand_on(self):
        for event in self.talk.told(SubscriptionChanged):
            self.subscriptions.handle(event, self.now)

    def accept_all(self):
        for feed in [s.feed for s in self.subscriptions]:
            self.hear("subscribe_success", feed)

    def retry(self, after):
        self.now += after
        self.subscriptions.retry_due(self.talk.session, KEY, self.now)

    def __getitem__(self, feed):
        return next(s for s in self.subscriptions if s.feed == feed)

    def asked(self, feed):
        channel = self[feed].target
        return len([f for f in self.talk.sent() if f["type"] == "subscribe" and f["channel"] == channel])


@pytest.fixture
def held():
    return Held()


def test_a_session_that_begins_is_asked_for_everything_in_order(held):
    assert [frame["channel"] for frame in held.talk.sent()] == list(FEEDS.values())
    assert {s.status for s in held.subscriptions} == {"subscribing"}


def test_what_is_answered_is_settled_and_what_is_not_is_not(held):
    held.hear("subscribe_success", "presence")
    held.hear("subscribe_success", "archive")
    assert not held.subscriptions.settled
    held.hear("subscribe_error", "role", "BadRequestException")
    assert held.subscriptions.settled
    assert [s.feed for s in held.subscriptions.refused] == ["role"]
    assert held["role"].error == "BadRequestException"


@pytest.mark.feature("S0.6")
def test_what_is_throttled_is_asked_for_again_within_the_jitters_bounds(held):
    for attempt in range(1, 8):
        held.hear("subscribe_error", "role", "LimitExceededError")
        lower, upper = RETRY.bounds(attempt)
        assert held.now + lower <= held.subscriptions.next_deadline() <= held.now + upper
        held.retry(upper)
        assert held["role"].status == "subscribing"


def test_a_retry_that_is_not_due_is_not_made(held):
    held.hear("subscribe_error", "role", "LimitExceededError")
    held.talk.sent()
    held.retry(0.0)
    assert held.asked("role") == 0


def test_what_was_long_live_is_retried_as_if_it_had_never_failed(held):
    for _ in range(5):
        held.hear("subscribe_error", "role", "LimitExceededError")
        held.retry(30.0)
    held.hear("subscribe_success", "role")
    held.now += STABLE_AFTER
    held.hear("error", "role", "LimitExceededError")
    assert held["role"].attempts == 1


def test_what_is_accepted_and_failed_at_once_backs_off_all_the_same(held):
    for _ in range(5):
        held.hear("subscribe_success", "role")
        held.hear("error", "role", "LimitExceededError")
        held.retry(30.0)
    assert held["role"].attempts == 5


def test_b20_what_is_refused_for_the_credentials_gets_one_new_token(held):
    held.hear("subscribe_error", "role", "Unauthorized")
    assert held.subscriptions.wants_new_token and held.subscriptions.next_deadline() is None
    assert [s.feed for s in held.subscriptions.retry_with_new_token(held.talk.session, KEY, held.now)] == ["role"]
    held.hear("subscribe_error", "role", "Unauthorized")
    assert not held.subscriptions.wants_new_token
    assert held["role"].status == "refused"


def test_b20_the_next_session_asks_again_but_not_for_another_token(held):
    held.hear("subscribe_error", "role", "Unauthorized")
    held.subscriptions.retry_with_new_token(held.talk.session, KEY, held.now)
    held.begin()
    held.hear("subscribe_error", "role", "Unauthorized")
    assert held["role"].status == "refused"


def test_b26_a_channel_that_the_service_would_never_take_is_refused_here_and_alone():
    """An OpenID subject may hold characters that no channel may."""
    held = Held({"presence": FEEDS["presence"], "role": "/app/oidc|sub-1/role"})
    assert [frame["channel"] for frame in held.talk.sent()] == [FEEDS["presence"]]
    assert held["role"].status == "refused" and "'oidc|sub-1'" in held["role"].error
    held.hear("subscribe_success", "presence")
    assert held.subscriptions.settled


def test_a_session_that_is_over_loses_what_is_its_own(held):
    held.accept_all()
    old = held.subscriptions
    held.begin()
    held.accept_all()
    old.lose(0.0)
    assert {s.status for s in old} == {"wanted"} and old.next_deadline() is None
    assert {s.status for s in held.subscriptions} == {"live"}
    held.subscriptions.lose(0.0)
    assert {s.status for s in held.subscriptions} == {"wanted"}
    assert held.subscriptions.next_deadline() is None


def test_b34_what_an_earlier_session_says_is_nobodys(held):
    held.accept_all()
    old = held["role"].ident
    held.begin()
    assert held.subscriptions.feed_of(old) is None


@pytest.mark.feature("S4.5")
def test_what_is_wanted_may_change_on_an_open_session(held):
    held.accept_all()
    held.talk.sent()
    changed = held.subscriptions.want({"presence": FEEDS["presence"], "role": "/app/other/role", "plan": "/app/plan"})
    held.subscriptions.follow(held.talk.session, KEY, held.now)
    sent = held.talk.sent()
    assert changed and len([frame for frame in sent if frame["type"] == "unsubscribe"]) == 2
    assert {frame["channel"] for frame in sent if frame["type"] == "subscribe"} == {"/app/other/role", "/app/plan"}
    assert held["presence"].status == "live"
    assert not held.subscriptions.want({s.feed: s.target for s in held.subscriptions})


class Siblings(RuleBasedStateMachine):
    """Invariants 13 and 14: whatever befalls one feed, the others and the connection stay as they are."""

    def __init__(self):
        super().__init__()
        self.held = Held()

    @initialize()
    def settle(self):
        self.held.accept_all()

    def alone(self, feed, act):
        """Do something to one feed and look at the others."""
        others = [(s.feed, s.status, s.ident) for s in self.held.subscriptions if s.feed != feed]
        act()
        assert [(s.feed, s.status, s.ident) for s in self.held.subscriptions if s.feed != feed] == others
        assert self.held.talk.session.state is SessionState.OPEN

    @rule(
        feed=st.sampled_from(list(FEEDS)),
        kind=st.sampled_from(["subscribe_success", "subscribe_error", "error", "unsubscribe_success", "data"]),
        error=st.sampled_from(["Unauthorized", "LimitExceededError", "BadRequestException", "InternalFailure"]),
    )
    def tell(self, feed, kind, error):
        self.alone(feed, lambda: self.held.hear(kind, feed, error))

    @rule(seconds=st.sampled_from([0.1, 5.0, 40.0]))
    def pass_time(self, seconds):
        """Give up what has no answer, and ask again for what is due."""
        live = {s.feed for s in self.held.subscriptions if s.status == "live"}
        self.held.now += seconds
        self.held.talk.session.handle_timer(self.held.now)
        self.held.hand_on()
        self.held.retry(0.0)
        assert live <= {s.feed for s in self.held.subscriptions if s.status == "live"}

    @rule()
    @precondition(lambda self: self.held.subscriptions.wants_new_token)
    def renew(self):
        self.held.subscriptions.retry_with_new_token(self.held.talk.session, KEY, self.held.now)

    @rule()
    @precondition(lambda self: self.held.subscriptions.wants_new_token)
    def fail_to_renew(self):
        self.held.subscriptions.put_off("away", self.held.now)
        assert not self.held.subscriptions.wants_new_token

    @rule()
    def reconnect(self):
        self.held.talk.session.closed(self.held.now)
        self.held.subscriptions.lose(0.0)
        self.held.begin()
        assert sorted(f["channel"] for f in self.held.talk.sent()) == sorted(FEEDS.values())

    @invariant()
    def invariant_7_no_feed_is_forgotten(self):
        """Each is live, refused, or has something coming: an answer, a retry, or a token."""
        subscriptions, session = self.held.subscriptions, self.held.talk.session
        for s in subscriptions:
            if s.status == "subscribing":
                assert session.next_deadline() is not None
            elif s.status == "retrying":
                assert s.retry_at is not None or subscriptions.wants_new_token
            else:
                assert s.status in ("live", "refused")

    @invariant()
    def invariant_14_each_feed_has_at_most_one_subscription(self):
        live = [s.ident for s in self.held.subscriptions if s.status == "live"]
        assert len(live) == len(set(live))
        assert all(self.held.subscriptions.feed_of(ident) for ident in live)


def test_invariant_13_a_failure_of_one_subscription_is_its_own():
    run_state_machine_as_test(Siblings, settings=settings(max_examples=100, stateful_step_count=40))
