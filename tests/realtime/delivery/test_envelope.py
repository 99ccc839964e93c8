import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import feed
from realtime.delivery import envelope
from realtime.events import Draft, News


@pytest.mark.parametrize("text", ['{"a":' * 9000 + "1" + "}" * 9000, '{"id":"a","type":"ping","x":' + "[" * 9000])
@pytest.mark.feature("S3.9")
def test_a_message_that_is_nested_without_end_is_malformed(text):
    with pytest.raises(envelope.Refused) as refused:
        envelope.decode_command(text)
    assert refused.value.error.code == "malformed"


def test_a_position_is_added_as_the_last_member():
    body = envelope.with_position(b'{"offset":9,"at":{"recorded":1}}', 4)
    assert msgspec.json.decode(body) == {"offset": 9, "at": {"recorded": 1}, "position": 4}


def test_the_feed_writes_what_this_module_reads():
    news = News(
        key="device/o/d",
        event_type="device/presenceChanged",
        priority=1,
        source="events",
        fields=(("online", "true", 5, 7),),
        gone=True,
    )
    (entry,) = feed.framed([Draft("user.1", news, 6)], {"user.1": ("e1", 3)}, 8)
    event = msgspec.json.decode(entry.body, type=envelope.Event)
    assert (event.topic, event.epoch, event.offset, event.key) == ("user.1", "e1", 3, "device/o/d")
    assert event.urgent and event.gone
    assert event.fields == {"online": (msgspec.Raw(b"true"), 5, 7)}
    assert (event.at.source, event.at.received, event.at.recorded) == (None, 6, 8)


def test_each_error_code_is_used_once():
    codes = [fault.code for fault in envelope.FAULTS]
    assert len(codes) == len(set(codes))


@pytest.mark.feature("S3.9")
def test_close_codes_lie_in_the_range_that_says_whether_to_come_back():
    stays_away = {close.name for close in envelope.Close if close >= 4400}
    assert all(4000 <= close < 4100 or 4400 <= close < 4500 for close in envelope.Close)
    assert stays_away == {"MALFORMED", "NOT_SIGNED_IN", "ACCESS_ENDED", "TOO_MANY"}


@pytest.mark.feature("S1.7")
@given(st.binary() | st.text())
@pytest.mark.feature("S3.10")
def test_whatever_a_client_sends_is_a_command_or_refused(message):
    try:
        assert isinstance(envelope.decode_command(message), envelope.Command)
    except envelope.Refused as refused:
        assert refused.error.code in {fault.code for fault in envelope.FAULTS}
