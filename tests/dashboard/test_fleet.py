import pytest

from dashboard import fleet
from dashboard.entities import Entity, Value


def device(number, changed=0, **values):
    fields = {name: Value(value, 1, 1) for name, value in values.items()}
    return Entity(f"device/org/cam-{number}", fields, changed=changed, heard=changed)


FLEET = [
    device(1, 3, name="Roof 10", siteId="b", online=True, recording=True),
    device(2, 1, name="Roof 9", siteId="a", online=False, recording=False, fwUpdateState="Failed"),
    device(3, 2, name="Gate", siteId="a", online=True, recording="Recording", fwUpdateState="Installing", model="X1"),
    device(4),
]


def ids(devices):
    return [entity.id for entity in devices]


def test_devices_are_counted_by_what_is_known_of_them():
    assert fleet.count(FLEET) == fleet.Counts(devices=4, online=2, offline=1, recording=2, updating=1, failed=1)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, ["cam-4", "cam-3", "cam-2", "cam-1"]),
        ({"q": "roof"}, ["cam-2", "cam-1"]),
        ({"q": "x1"}, ["cam-3"]),
        ({"q": "CAM-4"}, ["cam-4"]),
        ({"status": "online"}, ["cam-3", "cam-1"]),
        ({"status": "offline"}, ["cam-2"]),
        ({"status": "recording", "site": "b"}, ["cam-1"]),
        ({"status": "updating"}, ["cam-3"]),
        ({"status": "failed"}, ["cam-2"]),
        ({"sort": "changed"}, ["cam-1", "cam-3", "cam-2", "cam-4"]),
        ({"sort": "online"}, ["cam-2", "cam-4", "cam-3", "cam-1"]),
        ({"sort": "site"}, ["cam-4", "cam-3", "cam-2", "cam-1"]),
    ],
)
def test_devices_are_selected_and_sorted_as_asked(wanted, found):
    assert ids(fleet.select(FLEET, wanted)) == found


def test_sites_come_in_the_order_of_their_names():
    assert {site: ids(devices) for site, devices in fleet.sites(FLEET).items()} == {
        "": ["cam-4"],
        "a": ["cam-3", "cam-2"],
        "b": ["cam-1"],
    }
