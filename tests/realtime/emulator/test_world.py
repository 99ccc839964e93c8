"""What happens to the world, and what is published about it."""

import itertools

import pytest

from realtime.emulator.options import Fleet
from realtime.emulator.seed import plant
from realtime.emulator.world import (
    AddDevice,
    Device,
    Grant,
    RemoveDevice,
    Revoke,
    Set,
    SetRole,
    WorldError,
    decode_operation,
)

LOBBY = "device/org-aurora/cam-001"
pytestmark = pytest.mark.feature("S4.2")


@pytest.fixture
def world():
    return plant(Fleet(devices=12))


@pytest.fixture
def tick():
    return itertools.count(1000).__next__


@pytest.mark.parametrize(
    ("key", "fields", "feed", "payload"),
    [
        (
            LOBBY,
            {"online": False},
            "device/presenceChanged",
            {"eventType": "device/presenceChanged", "orgId": "org-aurora", "deviceId": "cam-001", "online": False},
        ),
        (
            LOBBY,
            {"recording": False},
            "device/recordingStateChanged",
            {
                "eventType": "device/recordingStateChanged",
                "orgId": "org-aurora",
                "deviceId": "cam-001",
                "recording": False,
            },
        ),
        (
            LOBBY,
            {"fwUpdateState": "Failed", "progress": 50, "version": "4.2.0"},
            "device/firmwareUpdated",
            {
                "eventType": "device/firmwareUpdated",
                "orgId": "org-aurora",
                "deviceId": "cam-001",
                "fwUpdateState": "Failed",
                "progress": 50,
                "version": "4.2.0",
            },
        ),
        (
            "archive/org-aurora/arc-001",
            {"state": "Processing", "progress": 25},
            "archive/stateChanged",
            {
                "eventType": "archive/stateChanged",
                "orgId": "org-aurora",
                "archiveId": "arc-001",
                "deviceId": "cam-001",
                "state": "Processing",
                "progress": 25,
            },
        ),
        (
            "organization/org-aurora",
            {"licensePhase": "NoticePeriod"},
            "organization/licensePhaseChanged",
            {"eventType": "license/phaseChanged", "orgId": "org-aurora", "licensePhase": "NoticePeriod"},
        ),
        (
            "organization/org-aurora",
            {"isFreePlan": True},
            "organization/planChanged",
            {"eventType": "plan/typeChanged", "orgId": "org-aurora", "isFreePlan": True},
        ),
        (
            "organization/org-aurora",
            {"AIControlSetting": {"a": {"b": 1}}},
            "organization/aiSettingsChanged",
            {"eventType": "ai/settingsChanged", "orgId": "org-aurora", "AIControlSetting": {"a": {"b": 1}}},
        ),
    ],
)
def test_a_change_is_told_on_its_feed_to_those_who_may_see_it(world, tick, key, fields, feed, payload):
    (notice,) = world.apply(Set(key, fields), tick)
    assert notice.feed == feed
    assert notice.subs == ("sub-viewer", "sub-owner", "sub-operator", "sub-manager")
    assert notice.payload == {**payload, "timestamp": 1000}


def test_a_change_outside_a_viewers_site_is_not_told_to_them(world, tick):
    (notice,) = world.apply(Set("device/org-aurora/cam-002", {"online": False}), tick)
    assert notice.subs == ("sub-owner", "sub-operator", "sub-manager")


def test_fields_of_several_feeds_are_told_apart_each_with_its_own_time(world, tick):
    notices = world.apply(Set(LOBBY, {"online": False, "recording": False}), tick)
    assert [n.feed for n in notices] == ["device/presenceChanged", "device/recordingStateChanged"]
    assert [n.payload["timestamp"] for n in notices] == [1000, 1001]


def test_a_name_changes_without_a_word(world, tick):
    assert world.apply(Set(LOBBY, {"name": "Front door"}), tick) == []
    assert world.devices[LOBBY].name == "Front door"


def test_grants_and_revocations_change_who_is_told(world, tick):
    key = "device/org-aurora/cam-002"
    world.apply(Grant("sub-viewer", key), tick)
    assert "sub-viewer" in world.watchers(key)
    world.apply(Revoke("sub-viewer", "org-aurora/cam-002"), tick)
    assert "sub-viewer" not in world.watchers(key)


@pytest.mark.feature("S4.14")
def test_a_role_decides_what_is_seen_and_is_told_to_its_owner(world, tick):
    (notice,) = world.apply(SetRole("sub-viewer", "org-aurora", "Admin"), tick)
    assert notice.feed == "roleChanged"
    assert notice.subs == ("sub-viewer",)
    assert notice.payload == {
        "eventType": "user/roleChanged",
        "orgId": "org-aurora",
        "userId": "sub-viewer",
        "role": "Admin",
        "timestamp": 1000,
    }
    assert world.people["sub-viewer"].visible == world.people["sub-owner"].visible
    world.apply(SetRole("sub-viewer", "org-aurora", "Viewer"), tick)
    assert len(world.people["sub-viewer"].visible) == 3


@pytest.mark.feature("S4.14")
def test_the_end_of_a_membership_takes_all_of_the_organisation_away(world, tick):
    (notice,) = world.apply(SetRole("sub-owner", "org-aurora", None), tick)
    assert notice.payload["role"] is None
    assert world.people["sub-owner"].visible == set()
    assert "sub-owner" not in world.members("org-aurora")


def test_devices_come_and_go_with_their_archives(world, tick):
    world.apply(AddDevice(Device("org-aurora", "cam-900", "New", site_id="site-2")), tick)
    assert world.watchers("device/org-aurora/cam-900") == ("sub-owner", "sub-operator", "sub-manager")
    assert world.apply(RemoveDevice(LOBBY), tick) == []
    assert LOBBY not in world.devices
    assert world.watchers(LOBBY) == ()
    assert "archive/org-aurora/arc-001" not in world.archives


@pytest.mark.parametrize(
    "operation",
    [
        Set("device/org-aurora/nobody", {"online": True}),
        Set("nonsense", {}),
        Set(LOBBY, {"onlin": True}),
        Set(LOBBY, {"deviceId": "x"}),
        Set(LOBBY, {"online": "perhaps"}),
        Grant("nobody", LOBBY),
        Grant("sub-viewer", "device/org-aurora/nobody"),
        SetRole("sub-viewer", "nowhere", "Owner"),
        AddDevice(Device("org-aurora", "cam-001", "Again")),
        AddDevice(Device("nowhere", "cam-001", "Lost")),
        RemoveDevice("org-aurora/nobody"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(world, tick, operation):
    with pytest.raises(WorldError):
        world.apply(operation, tick)
    assert world == plant(Fleet(devices=12))


@pytest.mark.parametrize("text", [b"", b"{}", b'{"op":"fly"}', b'{"op":"role","user":"a","org":"b","role":"King"}'])
def test_operations_that_cannot_be_read_are_refused(text):
    with pytest.raises(WorldError):
        decode_operation(text)
