import msgspec
import pytest

from realtime import decoding
from realtime.events import MAX_LEVELS

AI = "organization/aiSettingsChanged"


def tree(levels):
    return '{"a":' * levels + "1" + "}" * levels


def settings(levels):
    return f'{{"orgId":"org-a","AIControlSetting":{tree(levels)}}}'


def test_settings_may_be_a_tree():
    event = decoding.decode(AI, settings(MAX_LEVELS))
    assert decoding.fact_of(AI, event).fields == (("AIControlSetting", tree(MAX_LEVELS)),)


@pytest.mark.parametrize("levels", [MAX_LEVELS + 1, 900, 5000])
@pytest.mark.feature("S3.9")
def test_settings_that_nobody_could_read_again_are_undecodable(levels):
    with pytest.raises(decoding.Undecodable):
        decoding.decode(AI, settings(levels))


@pytest.mark.parametrize(
    "payload",
    ["", "null", "[]", "1", '{"orgId":"../x","deviceId":"d","online":true}', '{"orgId":"o","deviceId":"\ud800"}',
     '{"orgId":"o","deviceId":"d","online":1}', '{"orgId":"o","deviceId":"d","online":true,"timestamp":"soon"}',
     '{"orgId":"o","deviceId":"d","online":true,"eventType":"roleChanged"}', '{"orgId":' * 5000],
)  # fmt: skip
def test_what_a_feed_does_not_hold_is_undecodable(payload):
    with pytest.raises(decoding.Undecodable):
        decoding.decode("device/presenceChanged", payload)


def test_undecodable_names_the_place():
    with pytest.raises(decoding.Undecodable, match="deviceId"):
        decoding.decode("device/presenceChanged", msgspec.json.encode({"orgId": "o", "online": True}).decode())
