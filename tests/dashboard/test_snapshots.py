import msgspec

from dashboard import snapshots
from dashboard.snapshots import Told
from realtime.snapshot import Snapshot

BODY = {
    "asOf": "2026-05-04T12:00:00Z",
    "user": {"userId": "sub-1"},
    "organizations": [{"orgId": "o", "role": "Owner", "isFreePlan": False, "AIControlSetting": {"b": 1, "a": 2}}],
    "devices": [{"orgId": "o", "deviceId": "d", "online": True, "progress": 5, "changedAt": "1970-01-01T00:00:01Z"}],
    "archives": [{"orgId": "o", "archiveId": "a", "state": "Ready", "deviceId": "d"}],
}


def test_a_snapshot_tells_of_each_entity_only_what_the_backend_said():
    assert snapshots.entities(msgspec.convert(BODY, Snapshot)) == {
        "organization/o": Told({"isFreePlan": "false", "AIControlSetting": '{"a":2,"b":1}'}, None),
        "member/o/sub-1": Told({"role": '"Owner"'}, None),
        "device/o/d": Told({"online": "true", "fwProgress": "5.0"}, 1_000_000),
        "archive/o/a": Told({"state": '"Ready"', "deviceId": '"d"'}, None),
    }
