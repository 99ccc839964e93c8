"""The GraphQL dialect's results become the same events as the Events dialect's payloads."""

import json
from pathlib import Path

import pytest
from graphql import build_schema, parse, validate

from realtime import documents
from realtime.decoding import Undecodable
from realtime.events import DevicePresenceChanged, PlanChanged, RoleChanged
from realtime.feeds import BY_NAME

SCHEMA = Path(documents.__file__).parent / "emulator" / "schema.graphql"


def told(name, **result):
    return documents.decode(f"{name} org-1", json.dumps({name: {"orgId": "org-1", **result}}))


@pytest.mark.feature("S4.8")
def test_five_documents_for_each_organisation_all_valid_against_the_schema():
    wanted = documents.subscriptions(["org-2", "org-1"])
    assert len(wanted) == 10
    schema = build_schema(f"scalar AWSJSON {SCHEMA.read_text()}", assume_valid=True)
    for name, data in wanted.items():
        request = json.loads(data)
        assert validate(schema, parse(request["query"])) == []
        assert request["variables"] == {"orgId": name.split(" ")[1]}


@pytest.mark.feature("S4.8")
def test_one_device_state_tells_an_event_for_each_field_that_is_present():
    events = told("onDeviceState", deviceId="cam-1", online=True, recording=None, fwUpdateState="Idle")
    assert [feed for feed, _ in events] == ["device/presenceChanged", "device/firmwareUpdated"]
    assert events[0][1] == DevicePresenceChanged(org_id="org-1", device_id="cam-1", online=True)


@pytest.mark.feature("S4.9")
def test_an_organisation_state_is_split_in_three():
    events = told("onOrganizationState", licensePhase="Valid", isFreePlan=False, AIControlSetting='{"a": 1}')
    assert [type(event).__name__ for _, event in events] == ["LicensePhaseChanged", "PlanChanged", "AISettingsChanged"]
    assert events[1][1] == PlanChanged(org_id="org-1", is_free_plan=False)
    assert events[2][1].ai_control_setting == {"a": 1}


def test_every_event_told_belongs_to_the_feed_that_is_named():
    results = {
        "onDeviceState": {"deviceId": "d", "online": True, "recording": "paused", "fwUpdateState": "Idle"},
        "onArchiveState": {"archiveId": "a", "state": "Ready", "progress": 100},
        "onOrganizationState": {"licensePhase": "Valid", "isFreePlan": True, "AIControlSetting": {}},
        "onRoleChange": {"userId": "u", "role": "Owner"},
        "onTokenRevoke": {"userId": "u"},
    }
    feeds = [feed for name, result in results.items() for feed, event in told(name, **result)
             if isinstance(event, BY_NAME[feed].event)]  # fmt: skip
    assert sorted(feeds) == sorted(BY_NAME)
    assert [place for name in results for place in documents.told_by(f"{name} org-1")] == [(f, "org-1") for f in feeds]


def test_a_role_without_a_word_ends_the_membership():
    ((_, event),) = told("onRoleChange", userId="sub", role=None)
    assert event == RoleChanged(org_id="org-1", user_id="sub", role=None)


def test_an_empty_result_tells_nothing():
    assert documents.decode("onDeviceState org-1", '{"onDeviceState":null}') == []


@pytest.mark.parametrize("payload", ["{", "[]", '{"onDeviceState":{"orgId":1}}', '{"onDeviceState":{"online":"yes"}}'])
def test_what_can_not_be_read_says_where(payload):
    with pytest.raises(Undecodable):
        documents.decode("onDeviceState org-1", payload)


def test_both_dialects_payloads_say_the_same_facts():
    (over_graphql,) = documents.facts(
        "graphql",
        "onOrganizationState org-1",
        json.dumps({"onOrganizationState": {"orgId": "org-1", "isFreePlan": True}}),
    )
    (over_events,) = documents.facts(
        "events", "organization/planChanged", json.dumps({"orgId": "org-1", "isFreePlan": True})
    )
    assert over_graphql == over_events
