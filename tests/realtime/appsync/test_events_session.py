"""The Events dialect, frame by frame. Names carry the row of the scenario matrix for AppSync clients that they show."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from realtime.appsync.auth import ApiKey, Token
from realtime.appsync.endpoint import derive
from realtime.appsync.events_session import HANDLERS, EventsSession
from realtime.appsync.exceptions import (
    AuthRejected,
    BadRequest,
    ChannelError,
    ConnectionLost,
    RequestTimeout,
    ServiceFault,
    Throttled,
)
from realtime.appsync.publishing import MAX_EVENT_BYTES, Outcome
from realtime.appsync.session import (
    DEFAULT_CONNECTION_TIMEOUT,
    UNSUBSCRIBE_ATTEMPTS,
    Accepted,
    Data,
    Published,
    Rejected,
    SubscriptionChanged,
    Trouble,
)
from realtime.appsync.states import SessionState, SubscriptionState
from tests.realtime.appsync.talking import KEY, Talk

DEEP = '{"type":"ka","more":' + "[" * 100_000 + "]" * 100_000 + "}"
LIVE, REFUSED = SubscriptionState.LIVE, SubscriptionState.REFUSED


@pytest.fixture
def talk():
    return Talk.open()


# ── Opening ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_frame_is_connection_init_and_nothing_follows_before_the_ack():
    talk = Talk(opened=False)
    talk.session.opened()
    assert talk.sent() == [{"type": "connection_init"}]
    with pytest.raises(RuntimeError, match="wait for Accepted"):
        talk.subscribe("/ns/a")
    with pytest.raises(RuntimeError, match="wait for Accepted"):
        talk.publish("/ns/a", "1")
    assert talk.sent() == []


@pytest.mark.parametrize(
    ("ack", "seconds"),
    [
        ({"connectionTimeoutMs": 300_000}, 300.0),
        ({"connectionTimeoutMs": 1_500}, 1.5),
        ({}, DEFAULT_CONNECTION_TIMEOUT),
        ({"connectionTimeoutMs": 0}, DEFAULT_CONNECTION_TIMEOUT),
        ({"connectionTimeoutMs": -5}, DEFAULT_CONNECTION_TIMEOUT),
        ({"connectionTimeoutMs": None}, DEFAULT_CONNECTION_TIMEOUT),
    ],
)
def test_the_ack_tells_how_long_the_service_may_be_silent(ack, seconds):
    talk = Talk()
    talk.hear(type="connection_ack", **ack)
    assert talk.events() == [Accepted(seconds)]


def test_a_second_ack_is_out_of_place_and_changes_nothing(talk):
    talk.hear(type="connection_ack")
    assert isinstance(talk.events()[0], Trouble)
    assert talk.session.state is SessionState.OPEN


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"errorType": "UnauthorizedException", "errorCode": 401}, AuthRejected),
        ({"errorType": "com.amazonaws.deepdish.graphql.auth#UnauthorizedException", "errorCode": 400}, AuthRejected),
        ({"message": "Token has expired.", "errorType": "BadRequestException"}, AuthRejected),
        ({"errorType": "ExpiredTokenException", "message": "The security token is expired"}, AuthRejected),
        ({"errorType": "InvalidSignatureException", "message": "Signature not yet current: 20261121"}, ServiceFault),
        ({"errorType": "LimitExceededError"}, Throttled),
        ({"message": "SubProtocolNotSupportedError", "errorCode": 400}, BadRequest),
        ({"errorType": "InternalFailure", "errorCode": 500}, ServiceFault),
        ({}, ServiceFault),
    ],
)
@pytest.mark.feature("S4.7")
def test_b09_b10_a_connection_error_says_whose_fault_it_is(error, kind):
    talk = Talk()
    talk.hear(type="connection_error", errors=[error])
    (rejected,) = talk.told(Rejected)
    assert type(rejected.error) is kind and rejected.error.scope == "connection"
    assert talk.session.state is SessionState.CLOSED


def test_a_connection_error_without_errors_is_still_a_refusal():
    talk = Talk()
    talk.hear(type="connection_error")
    assert talk.told(Rejected)


def test_the_opening_carries_the_authorization_where_the_carrier_says():
    endpoint, token = derive("http://localhost:4000/event"), Token("jwt")
    by_subprotocol = EventsSession(endpoint).opening(token)
    assert by_subprotocol.url == "ws://localhost:4000/event/realtime"
    assert by_subprotocol.subprotocols[0] == by_subprotocol.selected == "aws-appsync-event-ws"
    assert by_subprotocol.subprotocols[1].startswith("header-") and by_subprotocol.headers == {}
    by_headers = EventsSession(endpoint, carrier="headers").opening(token)
    assert (by_headers.subprotocols, by_headers.headers) == (("aws-appsync-event-ws",), {"Authorization": "jwt"})


# ── Subscribing ──────────────────────────────────────────────────────────────────────────────────────────────


def test_b18_a_subscription_is_live_once_the_service_says_so(talk):
    ident = talk.subscribe("ns/a/")
    assert talk.sent() == [
        {
            "type": "subscribe",
            "id": ident,
            "channel": "/ns/a",
            "authorization": {"host": "localhost:4000", "x-api-key": "da2-key"},
        }
    ]
    talk.hear(type="subscribe_success", id=ident)
    talk.hear(type="subscribe_success", id=ident)
    assert talk.events() == [SubscriptionChanged(ident, "/ns/a", LIVE)]


@pytest.mark.feature("S0.2")
def test_b19_an_answer_that_does_not_come_fails_that_subscription_alone(talk):
    slow, quick = talk.subscribe("/ns/slow", now=0.0), talk.subscribe("/ns/quick", now=0.0)
    assert talk.session.next_deadline() == 10.0
    talk.hear(type="subscribe_success", id=quick)
    talk.session.handle_timer(9.99)
    assert [event.ident for event in talk.events()] == [quick]
    talk.session.handle_timer(10.0)
    (change,) = talk.events()
    assert (change.ident, change.state) == (slow, SubscriptionState.TIMED_OUT)
    assert isinstance(change.error, RequestTimeout) and change.error.retryable
    assert talk.session.next_deadline() is None


def test_b20_an_unauthorised_channel_costs_its_own_subscription_alone(talk):
    live, refused = talk.live("/ns/a"), talk.subscribe("/ns/b")
    talk.hear(type="subscribe_error", id=refused, errors=[{"errorType": "Unauthorized"}])
    (change,) = talk.events()
    assert (change.ident, change.state) == (refused, REFUSED)
    assert isinstance(change.error, AuthRejected) and change.error.scope == "subscription"
    assert talk.session.state is SessionState.OPEN
    talk.hear(type="data", id=live, event="1")
    assert talk.events() == [Data(live, "/ns/a", "1")]


def test_b22_an_error_without_an_id_is_told_and_ends_nothing(talk):
    live = talk.live("/ns/a")
    talk.hear(type="error", errors=[{"errorType": "UnsupportedOperation", "message": "not supported"}])
    (trouble,) = talk.events()
    assert "UnsupportedOperation: not supported" in trouble.text
    assert talk.session._subscriptions[live].state is LIVE


@pytest.mark.feature("S0.6")
def test_b24_too_many_subscriptions_is_an_error_that_may_pass(talk):
    ident = talk.subscribe("/ns/a")
    talk.hear(type="subscribe_error", id=ident, errors=[{"errorType": "MaxSubscriptionsReachedError"}])
    (change,) = talk.events()
    assert isinstance(change.error, Throttled) and change.error.retryable


def test_b25_every_request_has_an_id_of_its_own(talk):
    idents = [talk.subscribe("/ns/a"), talk.subscribe("/ns/a"), talk.publish("/ns/a", "1")]
    assert len({*idents, *(frame["id"] for frame in talk.sent())}) == 3


def test_b25_an_id_is_one_that_the_service_takes():
    session = EventsSession(derive("http://localhost:4000"))
    session.opened()
    session.receive('{"type":"connection_ack"}', 0.0)
    ident = session.subscribe("/ns/a", KEY, 0.0)
    assert 1 <= len(ident) <= 128 and ident.replace("-", "").isalnum()


def test_b26_a_bad_channel_is_refused_before_anything_is_sent(talk):
    with pytest.raises(ChannelError):
        talk.subscribe("/ns/a b")
    assert (talk.sent(), talk.session._subscriptions) == ([], {})


def test_b28_the_same_channel_twice_is_two_subscriptions(talk):
    first, second = talk.live("/ns/a"), talk.live("/ns/a")
    for ident in (first, second):
        talk.hear(type="data", id=ident, event="1")
    assert talk.events() == [Data(first, "/ns/a", "1"), Data(second, "/ns/a", "1")]


# ── Data ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("event", "payloads"),
    [('{"a":1}', ['{"a":1}']), (['{"a":1}'], ['{"a":1}']), (["1", "2"], ["1", "2"]), ("not json", ["not json"])],
)
def test_b32_an_event_may_be_a_string_or_a_list_of_them(talk, event, payloads):
    ident = talk.live("/ns/a")
    talk.hear(type="data", id=ident, event=event)
    assert [data.payload for data in talk.told(Data)] == payloads


@pytest.mark.parametrize("event", [None, 5, {"a": 1}, [1]])
def test_b32_an_event_of_another_shape_is_told_and_the_subscription_lives(talk, event):
    ident = talk.live("/ns/a")
    talk.hear(type="data", id=ident, event=event)
    talk.hear(type="data", id=ident, event="2")
    trouble, data = talk.events()
    assert isinstance(trouble, Trouble) and data.payload == "2"


def test_b34_data_that_nobody_asked_for_is_dropped_quietly(talk):
    ident = talk.live("/ns/a")
    talk.session.unsubscribe(ident, 0.0)
    talk.events()
    for unwanted in (ident, "nobody's", None):
        talk.hear(type="data", id=unwanted, event="1")
    assert talk.events() == []


def test_b34_data_after_an_unsubscribe_that_waits_for_its_turn_is_dropped_too(talk):
    ident = talk.subscribe("/ns/a")
    talk.session.unsubscribe(ident, 0.0)
    talk.hear(type="data", id=ident, event="1")
    assert talk.events() == []


def test_data_may_overtake_the_success(talk):
    ident = talk.subscribe("/ns/a")
    talk.hear(type="data", id=ident, event="1")
    assert talk.events() == [Data(ident, "/ns/a", "1")]


def test_b36_a_broadcast_error_is_told_and_the_subscription_lives(talk):
    ident = talk.live("/ns/a")
    talk.hear(type="broadcast_error", id=ident, errors=[{"errorType": "MessageProcessingError"}])
    (trouble,) = talk.events()
    assert (trouble.ident, "MessageProcessingError" in trouble.text) == (ident, True)
    assert talk.session._subscriptions[ident].state is LIVE


def test_b38_large_deep_and_foreign_text_arrives_as_it_was_sent(talk):
    ident = talk.live("/ns/a")
    payloads = ['"\U0001f680 ü \\u0000"', json.dumps("x" * 240_000), "[" * 500 + "]" * 500]
    for payload in payloads:
        talk.hear(type="data", id=ident, event=payload)
    assert [data.payload for data in talk.told(Data)] == payloads


@pytest.mark.feature("S0.1")
@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "1", "null", '{"id":"x"}', '{"type":5}', '{"type":null}', "\ud800", DEEP],
    ids=lambda text: ascii(text)[:24],
)
def test_a_frame_that_can_not_be_read_is_told_and_ends_nothing(talk, text):
    talk.session.receive(text, 0.0)
    (trouble,) = talk.events()
    assert trouble.text.startswith("unreadable frame: ")
    assert talk.session.state is SessionState.OPEN


def test_a_type_that_is_not_known_is_told_shortened(talk):
    talk.hear(type="_on_ka" * 100)
    (trouble,) = talk.events()
    assert trouble.text.startswith("unknown frame type '_on_ka") and len(trouble.text) < 80


def test_fields_that_are_not_known_and_their_order_do_not_matter(talk):
    ident = talk.live("/ns/a")
    talk.session.receive(json.dumps({"x": [1], "event": "1", "payload": {}, "id": ident, "type": "data"}), 0.0)
    assert talk.events() == [Data(ident, "/ns/a", "1")]


def test_a_keep_alive_says_nothing(talk):
    talk.hear(type="ka")
    assert (talk.events(), talk.sent()) == ([], [])


# ── Unsubscribing and the end ────────────────────────────────────────────────────────────────────────────────


def test_b57_an_unsubscribe_is_sent_and_its_answer_awaited(talk):
    ident = talk.live("/ns/a")
    talk.session.unsubscribe(ident, 5.0)
    assert talk.sent() == [{"type": "unsubscribe", "id": ident}]
    assert talk.session.next_deadline() == 15.0
    talk.hear(type="unsubscribe_success", id=ident)
    assert [event.state for event in talk.events()] == [
        SubscriptionState.UNSUBSCRIBING,
        SubscriptionState.UNSUBSCRIBED,
    ]


def test_b57_an_unsubscribe_that_meets_a_pending_subscribe_waits_for_its_success(talk):
    """Sent together, the service would ignore it."""
    ident = talk.subscribe("/ns/a")
    talk.sent()
    talk.session.unsubscribe(ident, 0.0)
    assert talk.sent() == []
    talk.hear(type="subscribe_success", id=ident)
    assert talk.sent() == [{"type": "unsubscribe", "id": ident}]


def test_b59_an_unsubscribe_of_what_is_over_does_nothing(talk):
    ident = talk.live("/ns/a")
    for _ in range(2):
        talk.session.unsubscribe(ident, 0.0)
    talk.hear(type="unsubscribe_success", id=ident)
    talk.session.unsubscribe(ident, 0.0)
    talk.session.unsubscribe("nobody's", 0.0)
    assert len(talk.sent()) == 1


@pytest.mark.parametrize("answer", ["unsubscribe_error", None])
def test_b60_an_unsubscribe_that_fails_is_over_all_the_same(talk, answer):
    ident = talk.live("/ns/a")
    talk.session.unsubscribe(ident, 0.0)
    if answer:
        talk.hear(type=answer, id=ident, errors=[{"errorType": "UnknownOperationError"}])
    else:
        for _ in range(UNSUBSCRIBE_ATTEMPTS):
            talk.session.handle_timer(talk.session.next_deadline())
    assert talk.told(SubscriptionChanged)[-1] == SubscriptionChanged(ident, "/ns/a", SubscriptionState.UNSUBSCRIBED)
    assert talk.session._subscriptions == {}


@pytest.mark.parametrize("throttled", [True, False])
@pytest.mark.feature("S0.6")
def test_b60_an_unsubscribe_that_is_throttled_or_not_answered_is_sent_again_after_its_wait(talk, throttled):
    """Forgotten, it would stay live at the service and count towards the most that a connection may have."""
    ident = talk.live("/ns/a")
    talk.session.unsubscribe(ident, 0.0)
    talk.sent(), talk.events()
    for attempt in range(1, UNSUBSCRIBE_ATTEMPTS):
        if throttled:
            talk.hear(type="unsubscribe_error", id=ident, errors=[{"errorType": "LimitExceededError"}])
        assert (talk.sent(), talk.events(), talk.session.next_deadline()) == ([], [], 10.0 * attempt)
        talk.session.handle_timer(10.0 * attempt)
        assert talk.sent() == [{"type": "unsubscribe", "id": ident}]
    talk.hear(type="unsubscribe_success", id=ident)
    assert [change.state for change in talk.events()] == [SubscriptionState.UNSUBSCRIBED]
    assert talk.session.next_deadline() is None


def test_a_late_success_of_a_subscribe_that_was_given_up_is_unsubscribed(talk):
    ident = talk.subscribe("/ns/a")
    talk.session.handle_timer(10.0)
    talk.sent(), talk.events()
    talk.session.unsubscribe(ident, 11.0)
    talk.hear(type="data", id=ident, event="1")
    assert (talk.sent(), talk.events()) == ([], [])
    talk.hear(12.0, type="subscribe_success", id=ident)
    assert talk.sent() == [{"type": "unsubscribe", "id": ident}]


@pytest.mark.feature("S0.2")
def test_b63_the_end_of_the_connection_ends_everything_that_waits_once(talk):
    pending, live, publish = talk.subscribe("/ns/a"), talk.live("/ns/b"), talk.publish("/ns/a", "1")
    talk.session.closed(1.0, "gone")
    talk.session.closed(2.0, "gone again")
    changes = talk.events()
    assert {(e.ident, type(e.error)) for e in changes} == {(i, ConnectionLost) for i in (pending, live, publish)}
    assert len(changes) == 3 and {str(e.error) for e in changes} == {"gone"}
    assert talk.session.next_deadline() is None


@pytest.mark.feature("S2.5")
def test_nothing_that_arrives_after_the_end_counts(talk):
    live = talk.live("/ns/a")
    talk.session.closed(1.0)
    talk.events()
    for frame in ({"type": "data", "event": "1"}, {"type": "subscribe_success"}, {"type": "connection_ack"}):
        talk.hear(id=live, **frame)
    assert not any(isinstance(event, Data | Accepted | SubscriptionChanged) for event in talk.events())
    assert talk.session.state is SessionState.CLOSED


# ── Publishing ───────────────────────────────────────────────────────────────────────────────────────────────


def statuses(published):
    return [outcome.status for outcome in published.outcomes]


def test_a_publish_says_what_is_signed_in_that_order(talk):
    talk.publish("ns/a", '{"n":"ü"}', "2")
    (text,) = talk.session.data_to_send()
    assert '"channel":"/ns/a","events":["{\\"n\\":\\"ü\\"}","2"]' in text
    assert json.loads(text)["authorization"] == {"host": "localhost:4000", "x-api-key": "da2-key"}


def test_b66_a_publish_ends_with_the_outcome_of_each_event(talk):
    ident = talk.publish("/ns/a", "1", "2")
    talk.hear(type="publish_success", id=ident, successful=[{"index": 0}], failed=[{"index": 1, "code": 400}])
    assert talk.events() == [Published(ident, (Outcome("sent"), Outcome("failed", "400", "no reason given")))]


def test_b66_a_publish_that_is_refused_has_failed(talk):
    ident = talk.publish("/ns/a", "1")
    talk.hear(type="publish_error", id=ident, errors=[{"errorType": "UnauthorizedException"}])
    (published,) = talk.events()
    assert statuses(published) == ["failed"] and isinstance(published.error, AuthRejected)


def test_b68_a_publish_without_an_answer_has_an_unknown_outcome(talk):
    ident = talk.publish("/ns/a", "1", now=2.0)
    talk.session.handle_timer(talk.session.next_deadline())
    (published,) = talk.events()
    assert (published.ident, statuses(published)) == (ident, ["outcome unknown"])
    talk.hear(type="publish_success", id=ident, successful=[{"index": 0}])
    assert talk.events() == []


@pytest.mark.parametrize("about", [{}, {"id": None}, {"id": "somebody-elses"}], ids=["no id", "null", "another id"])
@pytest.mark.parametrize("kind", ["error", "publish_error"])
@pytest.mark.feature("S0.7")
def test_b22_b66_an_error_that_names_another_request_or_none_leaves_a_publish_waiting(talk, kind, about):
    ident = talk.publish("/ns/a", "1")
    talk.hear(type=kind, errors=[{"errorType": "LimitExceededError"}], **about)
    (trouble,) = talk.events()
    assert isinstance(trouble, Trouble) and trouble.ident == about.get("id")
    talk.hear(type="publish_success", id=ident, successful=[{"index": 0}])
    assert talk.events() == [Published(ident, (Outcome("sent"),))]


def test_b69_a_connection_that_ends_under_a_publish_leaves_its_outcome_unknown(talk):
    ident = talk.publish("/ns/a", "1")
    talk.session.closed(1.0)
    (published,) = talk.events()
    assert (published.ident, statuses(published)) == (ident, ["outcome unknown"])


@pytest.mark.parametrize("count", [0, 6])
def test_b70_a_count_that_the_service_refuses_is_refused_here(talk, count):
    with pytest.raises(BadRequest, match=f"{count} events"):
        talk.publish("/ns/a", *["1"] * count)
    assert talk.sent() == []


def test_b72_a_size_that_the_service_refuses_is_refused_here(talk):
    talk.publish("/ns/a", "x" * MAX_EVENT_BYTES)
    with pytest.raises(BadRequest, match="larger than 240 kB"):
        talk.publish("/ns/a", "ü" * (MAX_EVENT_BYTES // 2) + "x")
    assert len(talk.sent()) == 1


def test_b75_a_publish_needs_no_subscription(talk):
    talk.publish("/ns/a", "1")
    assert [frame["type"] for frame in talk.sent()] == ["publish"]


def test_b76_a_publish_to_a_wildcard_is_refused_here(talk):
    with pytest.raises(ChannelError, match="wildcard"):
        talk.publish("/ns/*", "1")


def test_b78_an_authorization_counts_for_its_own_request_alone(talk):
    talk.session.publish("/ns/a", ["1"], ApiKey("other"), 0.0)
    talk.publish("/ns/a", "1")
    assert [frame["authorization"]["x-api-key"] for frame in talk.sent()] == ["other", "da2-key"]


# ── Anything ─────────────────────────────────────────────────────────────────────────────────────────────────

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
FIELDS = ("event", "errors", "connectionTimeoutMs", "successful", "failed", "payload")
ERRORS = st.lists(st.fixed_dictionaries({}, optional={"errorType": st.text(), "errorCode": st.integers()}), max_size=2)
FRAMES = st.fixed_dictionaries(
    {"type": st.sampled_from([*HANDLERS, "?"]) | st.text(max_size=12)},
    optional={
        "id": st.sampled_from(["id-1", "id-2", "id-3"]) | JSON,
        "errors": ERRORS | JSON,
        "failed": st.lists(st.dictionaries(st.sampled_from(["index", "code", "message"]), JSON), max_size=3) | JSON,
        "connectionTimeoutMs": st.floats() | JSON,
    }
    | {name: JSON for name in FIELDS if name not in ("errors", "failed", "connectionTimeoutMs")},
).map(json.dumps)


@pytest.mark.feature("S0.1")
@given(st.lists(FRAMES | st.text() | st.binary(), max_size=12), st.sampled_from(["new", "greeting", "open", "closed"]))
@example(['{"type":"connection_error"}'], "new")
@example(['{"type":"publish_success","id":"id-3","failed":[{"index":1e400}]}'], "open")
def test_no_frame_whatever_it_holds_raises(frames, state):
    talk = Talk(opened=state != "new")
    if state in ("open", "closed"):
        talk.hear(type="connection_ack")
        talk.subscribe("/ns/a"), talk.subscribe("/ns/b"), talk.publish("/ns/a", "1")
    if state == "closed":
        talk.session.closed(0.0)
    for number, frame in enumerate(frames):
        talk.session.receive(frame, float(number))
        talk.session.handle_timer(float(number))
        assert all(isinstance(text, str) for text in talk.session.data_to_send())
    published = talk.told(Published)
    assert len(published) <= 1


@given(st.lists(FRAMES, max_size=12), st.lists(st.sampled_from(["subscribe", "unsubscribe", "publish"]), max_size=8))
def test_every_request_ends_exactly_once_whatever_the_service_says(frames, wishes):
    """Each subscription is told one end at most, each publish exactly one."""
    talk = Talk.open()
    publishes = []
    for number, wish in enumerate(wishes):
        if talk.session.state is not SessionState.OPEN:
            break
        if wish == "subscribe":
            talk.subscribe("/ns/a")
        elif wish == "publish":
            publishes.append(talk.publish("/ns/a", "1"))
        else:
            talk.session.unsubscribe(f"id-{number}", 0.0)
        for frame in frames[number : number + 2]:
            talk.session.receive(frame, 0.0)
    talk.session.handle_timer(11.0)
    talk.session.closed(12.0)
    events = talk.events()
    assert sorted(e.ident for e in events if isinstance(e, Published)) == sorted(publishes)
    ends = [e.ident for e in events if isinstance(e, SubscriptionChanged) and e.state in ENDS]
    assert len(ends) == len(set(ends))


ENDS = (
    SubscriptionState.REFUSED,
    SubscriptionState.TIMED_OUT,
    SubscriptionState.UNSUBSCRIBED,
    SubscriptionState.LOST,
)
