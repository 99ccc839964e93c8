"""Walks the two tables of a session, pair by pair: what they list happens, what they don't changes nothing."""

import pytest

from realtime.appsync.auth import ApiKey
from realtime.appsync.endpoint import derive
from realtime.appsync.events_session import EventsSession
from realtime.appsync.session import OVER, SubscriptionChanged
from realtime.appsync.states import SESSION, SUBSCRIPTION, SessionState, SubscriptionState
from tests.realtime.appsync.talking import Talk

S = SubscriptionState
TIMED_OUT_AT = 11.0


def session_in(state):
    talk = Talk(opened=state is not SessionState.NEW)
    if state is SessionState.OPEN:
        talk.hear(type="connection_ack")
    if state is SessionState.CLOSED:
        talk.session.closed(0.0)
    talk.events()
    assert talk.session.state is state
    return talk


SESSION_TRIGGERS = {
    "opened": lambda talk: talk.session.opened(),
    "connection_ack": lambda talk: talk.hear(type="connection_ack"),
    "connection_error": lambda talk: talk.hear(type="connection_error"),
    "closed": lambda talk: talk.session.closed(1.0),
}


@pytest.mark.parametrize("trigger", SESSION_TRIGGERS)
@pytest.mark.parametrize("state", SessionState)
def test_a_session_goes_where_its_table_says_and_nowhere_else(state, trigger):
    talk = session_in(state)
    after = SESSION[state].get(trigger, state)
    if trigger == "opened" and trigger not in SESSION[state]:
        with pytest.raises(RuntimeError, match=f"opened in session state {state.value}"):
            talk.session.opened()
    else:
        SESSION_TRIGGERS[trigger](talk)
    assert talk.session.state is after


def test_the_sessions_table_names_every_state_and_no_other_trigger():
    assert set(SESSION) == set(SessionState)
    assert {trigger for row in SESSION.values() for trigger in row} == set(SESSION_TRIGGERS)


def subscription_in(state):
    """Return a conversation with one subscription in this state, and its id."""
    talk = Talk.open()
    ident = talk.subscribe("/ns/a")
    if state is S.TIMED_OUT:
        talk.session.handle_timer(TIMED_OUT_AT)
    elif state is not S.SUBSCRIBING:
        talk.hear(type="subscribe_success", id=ident)
    if state in (S.UNSUBSCRIBING, S.UNSUBSCRIBED):
        talk.session.unsubscribe(ident, 0.0)
    if state is S.UNSUBSCRIBED:
        talk.hear(type="unsubscribe_success", id=ident)
    if state is S.REFUSED:
        talk.hear(type="error", id=ident)
    if state is S.LOST:
        talk.session.closed(0.0)
    talk.events()
    talk.session.data_to_send()
    return talk, ident


def let_time_run_out(talk):
    """Pass every deadline there is: an unsubscribe has several."""
    while (deadline := talk.session.next_deadline()) is not None:
        talk.session.handle_timer(deadline)


SUBSCRIPTION_TRIGGERS = {
    "accepted": lambda talk, ident: talk.hear(type="subscribe_success", id=ident),
    "refused": lambda talk, ident: talk.hear(type="subscribe_error", id=ident),
    "ended": lambda talk, ident: talk.hear(type="unsubscribe_success", id=ident),
    "timeout": lambda talk, ident: let_time_run_out(talk),
    "unsubscribe": lambda talk, ident: talk.session.unsubscribe(ident, TIMED_OUT_AT),
    "closed": lambda talk, ident: talk.session.closed(TIMED_OUT_AT),
}


@pytest.mark.feature("S0.3")
@pytest.mark.parametrize("trigger", SUBSCRIPTION_TRIGGERS)
@pytest.mark.parametrize("state", S)
def test_a_subscription_goes_where_its_table_says_and_nowhere_else(state, trigger):
    talk, ident = subscription_in(state)
    after = SUBSCRIPTION[state].get(trigger)
    SUBSCRIPTION_TRIGGERS[trigger](talk, ident)
    kept = talk.session._subscriptions.get(ident)
    if after is None:
        ended = state in OVER or talk.session.state is SessionState.CLOSED
        assert kept is None if ended else kept.state is state
        assert not any(isinstance(event, SubscriptionChanged) for event in talk.events())
    elif state is S.TIMED_OUT:
        assert talk.events() == [], "the caller was told already"
        assert (kept is None) is (after in OVER)
    else:
        assert [event.state for event in talk.events()] == [after]
        assert (kept is None) is (after in OVER)


def test_the_subscriptions_table_names_every_state_and_no_other_trigger():
    assert set(SUBSCRIPTION) == set(S)
    assert {trigger for row in SUBSCRIPTION.values() for trigger in row} == set(SUBSCRIPTION_TRIGGERS)
    assert all(SUBSCRIPTION[state] == {} for state in OVER)


def test_a_subscription_given_up_stays_given_up_to_its_end():
    """The service's late yes is answered by an unsubscribe, of which the caller hears nothing."""
    talk, ident = subscription_in(S.TIMED_OUT)
    talk.hear(type="subscribe_success", id=ident)
    assert [frame["type"] for frame in talk.sent()] == ["unsubscribe"]
    talk.hear(type="unsubscribe_success", id=ident)
    assert talk.events() == []
    assert talk.session._subscriptions == {}


def test_requests_that_were_given_up_do_not_pile_up_once_they_are_answered():
    talk = Talk.open()
    for n in range(50):
        ident = talk.subscribe("/ns/a", now=n * 20.0)
        talk.session.handle_timer(n * 20.0 + TIMED_OUT_AT)
        talk.hear(type="subscribe_error", id=ident)
    assert talk.session._subscriptions == {}


def test_a_new_session_is_new():
    session = EventsSession(derive("http://localhost:4000"))
    assert session.state is SessionState.NEW
    with pytest.raises(RuntimeError, match="wait for Accepted"):
        session.subscribe("/ns/a", ApiKey("k"), 0.0)
