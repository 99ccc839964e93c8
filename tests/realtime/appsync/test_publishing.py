"""What one publish may hold, and how its answer becomes an outcome for each event."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.appsync import messages
from realtime.appsync.exceptions import (
    BadRequest,
    ConnectionLost,
    NotSent,
    OutcomeUnknown,
    RequestTimeout,
    ServiceFault,
    Throttled,
)
from realtime.appsync.publishing import (
    MAX_EVENT_BYTES,
    MAX_EVENTS,
    MAX_REQUEST_BYTES,
    Outcome,
    batches,
    check,
    outcome_of,
    outcomes_of,
)

SENT, UNNAMED = Outcome("sent"), Outcome("outcome unknown", text="the answer does not name it")


@pytest.mark.parametrize(
    ("successful", "failed", "outcomes"),
    [
        ([{"index": 1}, {"index": 0}], [], (SENT, SENT)),
        ([{"index": 0}], [{"index": 1, "code": 400, "message": "no"}], (SENT, Outcome("failed", "400", "no"))),
        (
            [],
            [{"index": 0, "errorCode": 7, "errorMessage": "no"}, {"index": 1}],
            (Outcome("failed", "7", "no"), Outcome("failed", "", "no reason given")),
        ),
        ([{"index": 0}, {"index": 1}], [{"index": 1, "code": 0}], (SENT, Outcome("failed", "0", "no reason given"))),
        ([], [], (UNNAMED, UNNAMED)),
        ([{}, {"index": None}, {"index": "0"}, {"index": True}, {"index": 9}], [{"index": -1}], (UNNAMED, UNNAMED)),
    ],
)
@pytest.mark.feature("S0.2")
def test_b66_each_event_ends_as_the_answer_says_of_its_index(successful, failed, outcomes):
    assert outcomes_of(successful, failed, 2) == outcomes


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (ServiceFault("HandlerError", "no"), Outcome("failed", "HandlerError", "no")),
        (ServiceFault("only this", "only this"), Outcome("failed", "only this")),
        (Throttled("LimitExceededError", scope="connection"), Outcome("not sent", "LimitExceededError")),
        (RequestTimeout("late"), Outcome("outcome unknown", text="late")),
        (ConnectionLost("gone"), Outcome("outcome unknown", text="gone")),
        (OutcomeUnknown("HTTP 502"), Outcome("outcome unknown", text="HTTP 502")),
        (NotSent("refused"), Outcome("not sent", text="refused")),
    ],
)
def test_each_error_says_what_became_of_the_events(error, outcome):
    assert outcome_of(error) == outcome


def test_an_outcome_reads_as_a_sentence_of_what_is_known():
    assert str(SENT) == "sent"
    assert str(Outcome("failed", "400", "no")) == "failed: 400: no"
    assert str(Outcome("not sent", text="refused")) == "not sent: refused"


def test_b70_events_are_split_by_five_in_order():
    events = [str(number) for number in range(12)]
    assert [len(batch) for batch in batches("/ns/a", events)] == [5, 5, 2]
    assert [event for batch in batches("/ns/a", events) for event in batch] == events
    assert batches("/ns/a", []) == []


def test_b72_a_batch_ends_where_the_request_would_grow_too_large():
    """What counts is the request as it is sent: quotes in an event take two bytes there."""
    large = '"' + 2 * "\\n" * (MAX_EVENT_BYTES // 4 - 1) + '"'
    found = batches("/ns/a", [large] * 5)
    assert [len(batch) for batch in found] == [3, 2]
    assert all(len(messages.publish_body("/ns/a", batch)) <= MAX_REQUEST_BYTES for batch in found)
    with pytest.raises(BadRequest, match="the publish is larger than 1200000 bytes"):
        check("/ns/a", [large] * 4)


@given(st.lists(st.text(max_size=4).map(lambda text: messages.publish_body(text, [])), max_size=14))
def test_every_batch_is_one_that_the_service_takes(events):
    for batch in batches("/ns/a", events):
        check("/ns/a", batch)


@pytest.mark.parametrize("count", [0, MAX_EVENTS + 1])
def test_b70_one_publish_holds_one_to_five_events(count):
    with pytest.raises(BadRequest, match=f"{count} events in one publish; 1 to 5"):
        check("/ns/a", ["1"] * count)


@pytest.mark.parametrize(
    ("event", "says"),
    [
        ("not json", "event 1 is not JSON.*quote a bare string"),
        ("[" * 100_000, "event 1 is not JSON"),
        ('"' + "ü" * (MAX_EVENT_BYTES // 2) + '"', "event 1 is larger than 240 kB"),
        ('"\udc80"', "event 1 is not Unicode"),
    ],
)
def test_b72_an_event_that_would_be_refused_is_named(event, says):
    with pytest.raises(BadRequest, match=says):
        batches("/ns/a", ["0", event])
