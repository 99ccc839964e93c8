"""The GraphQL dialect, frame by frame, where it differs from Events; what both share is shown there."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.appsync.auth import Token
from realtime.appsync.endpoint import derive
from realtime.appsync.exceptions import AuthRejected, BadRequest, MaxSubscriptionsReached, ServiceFault
from realtime.appsync.graphql_session import HANDLERS, GraphQLSession
from realtime.appsync.session import Accepted, Data, Rejected, SubscriptionChanged, Trouble
from realtime.appsync.states import SessionState, SubscriptionState

DOCUMENT = '{"query":"subscription { onChange { id } }","variables":{}}'
TOKEN = Token("jwt")


class Talk:
    """One GraphQL session, accepted by the service unless ``acks`` is false."""

    def __init__(self, acks=True, carrier="subprotocol"):
        self.session = GraphQLSession(derive("http://localhost:4000", dialect="graphql"), carrier=carrier)
        self.session.opened()
        if acks:
            self.hear("connection_ack", {"connectionTimeoutMs": 300_000})
            self.events()
        self.session.data_to_send()

    def hear(self, kind, payload=None, **fields):
        self.session.receive(json.dumps({"type": kind, "payload": payload, **fields}), 0.0)

    def events(self):
        return self.session.events_received()

    def live(self):
        ident = self.session.subscribe(DOCUMENT, TOKEN, 0.0)
        self.hear("start_ack", id=ident)
        self.events()
        return ident

    def sent(self):
        return [json.loads(text) for text in self.session.data_to_send()]


@pytest.fixture
def talk():
    return Talk()


@pytest.mark.parametrize(
    ("payload", "seconds"),
    [({"connectionTimeoutMs": 60_000}, 60.0), ({"connectionTimeout": 60_000}, 60.0), ({}, 300.0), (None, 300.0)],
)
def test_the_ack_nests_its_time_out_below_payload(payload, seconds):
    talk = Talk(acks=False)
    talk.hear("connection_ack", payload)
    assert talk.events() == [Accepted(seconds)]


@pytest.mark.feature("S4.8")
def test_b18_a_start_carries_the_document_as_text_and_is_live_once_acknowledged(talk):
    ident = talk.session.subscribe(DOCUMENT, TOKEN, 0.0)
    assert talk.sent() == [
        {
            "id": ident,
            "type": "start",
            "payload": {
                "data": DOCUMENT,
                "extensions": {"authorization": {"host": "localhost:4000", "Authorization": "jwt"}},
            },
        }
    ]
    talk.hear("starting", id=ident)
    talk.hear("start_ack", id=ident)
    assert talk.events() == [SubscriptionChanged(ident, DOCUMENT, SubscriptionState.LIVE)]


def test_data_is_handed_on_as_the_json_that_came(talk):
    ident = talk.live()
    talk.session.receive(
        f'{{"type":"data","id":"{ident}","payload":{{"data":{{"onChange":{{"id":"ü", "n":1.50}}}}}}}}', 0.0
    )
    assert talk.events() == [Data(ident, DOCUMENT, '{"onChange":{"id":"ü", "n":1.50}}')]


def test_b33_a_partial_result_gives_both_its_data_and_its_errors(talk):
    ident = talk.live()
    talk.hear("data", {"data": {"onChange": None}, "errors": [{"errorType": "X", "message": "half"}]}, id=ident)
    data, trouble = talk.events()
    assert (data.payload, "X: half" in trouble.text) == ('{"onChange": null}', True)
    talk.hear("data", {"data": None, "errors": [{"message": "all"}]}, id=ident)
    assert [type(event) for event in talk.events()] == [Trouble]


@pytest.mark.parametrize(
    ("payload", "kind"),
    [
        ({"errors": [{"errorType": "UnauthorizedException", "errorCode": 401}]}, AuthRejected),
        ({"errors": {"errorType": "MaxSubscriptionsReachedError"}}, MaxSubscriptionsReached),
        ({"errorType": "BadRequestException", "message": "no"}, BadRequest),
        (None, ServiceFault),
    ],
)
def test_errors_are_found_as_a_list_as_an_object_or_bare(talk, payload, kind):
    ident = talk.session.subscribe(DOCUMENT, TOKEN, 0.0)
    talk.hear("error", payload, id=ident)
    (change,) = talk.events()
    assert (change.state, type(change.error)) == (SubscriptionState.REFUSED, kind)
    other = Talk(acks=False)
    other.hear("connection_error", payload)
    (rejected,) = other.events()
    assert isinstance(rejected, Rejected) and type(rejected.error) is kind


def test_a_stop_is_answered_by_complete(talk):
    ident = talk.live()
    talk.sent()
    talk.session.unsubscribe(ident, 0.0)
    assert talk.sent() == [{"id": ident, "type": "stop"}]
    talk.hear("complete", id=ident)
    assert talk.events()[-1].state is SubscriptionState.UNSUBSCRIBED


def test_b57_a_stop_that_meets_a_pending_start_waits_for_its_success(talk):
    """Sent together, the service would ignore it."""
    ident = talk.session.subscribe(DOCUMENT, TOKEN, 0.0)
    talk.sent()
    talk.session.unsubscribe(ident, 0.0)
    assert talk.sent() == []
    talk.hear("start_ack", id=ident)
    assert talk.sent() == [{"id": ident, "type": "stop"}]


def test_a_complete_that_nobody_asked_for_is_an_end_that_may_be_tried_again(talk):
    ident = talk.live()
    talk.hear("complete", id=ident)
    (change,) = talk.events()
    assert change.state is SubscriptionState.REFUSED and change.error.retryable
    assert talk.session.state is SessionState.OPEN


def test_the_authorization_may_travel_in_the_query():
    opening = Talk(carrier="query").session.opening(TOKEN)
    assert opening.url.startswith("ws://localhost:4000/graphql/realtime?header=ey")
    assert opening.url.endswith("&payload=e30%3D")
    assert opening.subprotocols == ("graphql-ws",)


PAYLOADS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "errors", "x"]), inner),
    max_leaves=6,
)


@pytest.mark.feature("S0.1")
@given(st.lists(st.tuples(st.sampled_from([*HANDLERS, "?"]), PAYLOADS, st.booleans()), max_size=10), st.booleans())
def test_no_frame_whatever_it_holds_raises(frames, acks):
    talk = Talk(acks=acks)
    ident = talk.live() if acks else "?"
    for kind, payload, ours in frames:
        talk.hear(kind, payload, id=ident if ours else None)
    talk.session.closed(1.0)
    assert talk.session.state is SessionState.CLOSED


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "\ud800", '{"type":"ka","payload":' + "[" * 100_000], ids=lambda t: ascii(t)[:24]
)
def test_a_frame_that_can_not_be_read_is_told(talk, text):
    talk.session.receive(text, 0.0)
    (trouble,) = talk.events()
    assert trouble.text.startswith("unreadable frame: ")
