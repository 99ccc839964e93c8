"""Payloads as the nine feeds send them, and all that is no such payload."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.decoding import OfNoFeed, Undecodable, decode, fact_by_type, fact_of, organization_in
from realtime.feeds import BY_NAME, FEEDS, channels

pytestmark = pytest.mark.feature("S4.2")

WHOLE = {
    "orgId": "org", "deviceId": "d1", "archiveId": "a1", "userId": "u1", "online": True, "recording": "paused",
    "fwUpdateState": "Failed", "progress": 40, "version": "1.2", "state": "Ready", "licensePhase": "NoticePeriod",
    "isFreePlan": False, "AIControlSetting": {"b": [1], "a": None}, "role": "Admin", "reason": "left",
    "timestamp": "2026-09-20T12:00:00.000001Z",
}  # fmt: skip
EXPECTED = {
    "device/presenceChanged": ("device/org/d1", {"online": True}, False),
    "device/recordingStateChanged": ("device/org/d1", {"recording": "paused"}, False),
    "device/firmwareUpdated": (
        "device/org/d1",
        {"fwUpdateState": "Failed", "fwProgress": 40, "fwVersion": "1.2"},
        True,
    ),
    "archive/stateChanged": ("archive/org/a1", {"state": "Ready", "deviceId": "d1", "progress": 40}, False),
    "organization/licensePhaseChanged": ("organization/org", {"licensePhase": "NoticePeriod"}, True),
    "organization/planChanged": ("organization/org", {"isFreePlan": False}, False),
    "organization/aiSettingsChanged": ("organization/org", {"AIControlSetting": {"a": None, "b": [1]}}, False),
    "roleChanged": ("member/org/u1", {"role": "Admin"}, True),
    "tokenRevoked": ("user/u1", {"tokenRevoked": "left"}, True),
}
names = pytest.mark.parametrize("name", [feed.name for feed in FEEDS])


def copied(name, payload):
    event = decode(name, msgspec.json.encode(payload).decode())
    return fact_of(name, event).heard(user_id=7, received=5, source="events")


@names
def test_each_feed_names_its_entity_and_fields(name):
    copy = copied(name, WHOLE)
    fields = {field: msgspec.json.decode(text) for field, text in copy.fact.fields}
    assert (copy.fact.key, fields, copy.fact.urgent) == EXPECTED[name]
    assert (copy.user_id, copy.received, copy.fact.event_type) == (7, 5, BY_NAME[name].event_type)


@names
def test_a_payload_without_a_time_has_none(name):
    assert copied(name, {**WHOLE, "timestamp": None}).fact.time is None


@names
def test_a_payload_may_call_itself_by_its_own_name_only(name):
    assert copied(name, {**WHOLE, "eventType": BY_NAME[name].event_type})
    with pytest.raises(Undecodable, match="eventType"):
        copied(name, {**WHOLE, "eventType": "another/thing"})


@pytest.mark.parametrize(
    ("text", "offset"),
    [("2026-09-20T12:00:00.000001Z", 1), ("2026-09-20T12:00:00.000001", 1), ("2026-09-20T14:00:00.5+02:00", 500_000)],
)
def test_times_are_exact_to_the_microsecond_and_utc_without_a_zone(text, offset):
    assert copied("organization/planChanged", {**WHOLE, "timestamp": text}).fact.time == 1_789_905_600_000_000 + offset


def test_unknown_fields_and_words_are_no_errors():
    copy = copied("device/firmwareUpdated", {**WHOLE, "fwUpdateState": "Verifying", "surprise": {"x": 1}})
    assert dict(copy.fact.fields)["fwUpdateState"] == '"Verifying"'


def test_the_end_of_a_membership_is_a_role_of_none():
    assert dict(copied("roleChanged", {**WHOLE, "role": None}).fact.fields) == {"role": "null"}


@pytest.mark.parametrize(
    "payload",
    [
        "", "null", "[]", '"text"', "{", '{"orgId":"org"}', '{"orgId":"org","deviceId":"d","online":"yes"}',
        '{"orgId":"a/b","deviceId":"d","online":true}', '{"orgId":"org","deviceId":"","online":true}',
        '{"orgId":"org","deviceId":"d","online":true,"timestamp":"soon"}', '{"a":' + "[" * 50_000, '"\ud800"',
    ],
)  # fmt: skip
def test_what_is_no_such_payload_is_refused_and_says_why(payload):
    with pytest.raises(Undecodable):
        decode("device/presenceChanged", payload)


@given(st.sampled_from([feed.name for feed in FEEDS]), st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_text_whatever_raises_anything_else(name, text):
    try:
        decode(name, text)
    except Undecodable as error:
        assert str(error)


def test_nine_channels_of_a_user_lie_below_the_users_own():
    made = channels("vortex-app", "sub-1")
    assert len(made) == len(FEEDS) == 9
    assert {channel.rpartition("/user/sub-1/")[2] for channel in made.values()} == {feed.name for feed in FEEDS}


@pytest.mark.feature("S4.4")
@pytest.mark.parametrize("label", ["event_type", "name"])
@names
def test_an_event_without_its_channel_is_known_by_its_type(name, label):
    payload = {**WHOLE, "eventType": getattr(BY_NAME[name], label)}
    fact = fact_by_type(msgspec.json.encode(payload).decode())
    assert (fact.feed, fact.key) == (name, EXPECTED[name][0])


@pytest.mark.feature("S4.4")
def test_an_event_of_another_type_is_nobodys_here():
    with pytest.raises(OfNoFeed, match="billing/invoicePaid"):
        fact_by_type('{"eventType": "billing/invoicePaid"}')


@pytest.mark.feature("S4.4")
@pytest.mark.parametrize(
    ("payload", "wrong"),
    [
        ('{"orgId": "org"}', "no eventType"),
        ('{"eventType": "device/presenceChanged", "orgId": "org"}', "missing required field `deviceId`"),
        ("[]", "Expected `object`"),
    ],
)
def test_an_event_that_can_not_be_told_says_why(payload, wrong):
    with pytest.raises(Undecodable, match=wrong):
        fact_by_type(payload)


@pytest.mark.feature("S4.4")
@pytest.mark.parametrize(
    ("payload", "org"),
    [
        ('{"eventType": "device/presenceChanged", "orgId": "org", "online": 3}', "org"),
        ('{"eventType": "user/roleChanged", "orgId": "org"}', None),
        ('{"eventType": "device/presenceChanged", "orgId": "\\u0000"}', None),
        ('{"orgId": "org"}', None),
        ("nonsense", None),
    ],
)
def test_whose_an_unreadable_event_is_can_be_known_all_the_same(payload, org):
    assert organization_in(payload) == org
