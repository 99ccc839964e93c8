"""Schemas: what we export describes what we read, and what differs is found."""

import re

import pytest

from realtime import drift
from realtime.feeds import FEEDS
from realtime.shapes import BadSchema

pytestmark = pytest.mark.feature("S4.10")


def broken(name="PlanChanged", **fields):
    theirs = drift.json_schema()
    theirs["$defs"][name]["properties"] |= fields
    return theirs


def found(theirs):
    return [(finding.schema, finding.field, finding.breaks) for finding in drift.compare(theirs)]


def test_our_own_export_has_every_payload_and_finds_nothing_in_itself():
    assert {feed.event.__name__ for feed in FEEDS} | {"Snapshot"} <= drift.json_schema()["$defs"].keys()
    assert drift.compare(drift.json_schema()) == []


def test_another_type_breaks_and_a_new_field_does_not():
    (finding,) = drift.compare(broken(isFreePlan={"type": "string"}))
    assert (finding.schema, finding.field, finding.breaks) == ("PlanChanged", "isFreePlan", True)
    (finding,) = drift.compare(broken(colour={"type": "string"}))
    assert (finding.field, finding.breaks) == ("colour", False)


def test_a_missing_field_that_is_needed_breaks():
    theirs = broken()
    del theirs["$defs"]["PlanChanged"]["properties"]["isFreePlan"]
    assert [finding.breaks for finding in drift.compare(theirs)] == [True]


def test_schemas_are_found_in_an_openapi_document_by_their_event_type_too():
    ours = drift.json_schema()["$defs"]
    theirs = {"components": {"schemas": {"plan/typeChanged": ours["PlanChanged"]}}}
    assert [f.says for f in drift.compare(theirs) if f.schema == "PlanChanged"] == []


@pytest.mark.parametrize(
    ("named", "breaks"),
    [
        ({"type": "string"}, True),
        ({"$ref": "#/$defs/Other"}, True),
        ({"enum": ["yes", "no"]}, True),
        ({"type": "boolean"}, False),
        ({"oneOf": [{"type": "boolean"}, {"const": True}]}, False),
    ],
)
def test_the_type_behind_a_reference_counts(named, breaks):
    theirs = broken(isFreePlan={"$ref": "#/$defs/Named"})
    theirs["$defs"] |= {"Named": named, "Other": {"type": "integer"}}
    assert found(theirs) == ([("PlanChanged", "isFreePlan", True)] if breaks else [])


@pytest.mark.parametrize(
    "nullable",
    [
        {"type": "boolean", "nullable": True},
        {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        {"type": ["boolean", "string", "null"], "allOf": [{"type": ["boolean", "null"]}]},
    ],
)
def test_a_null_that_is_not_read_breaks(nullable):
    (finding,) = drift.compare(broken(isFreePlan=nullable))
    assert (finding.field, finding.says, finding.breaks) == ("isFreePlan", "is boolean/null, read as boolean", True)


def test_an_integer_is_a_number_and_what_contradicts_itself_is_nothing():
    either = {"anyOf": [{"type": "integer"}, {"type": "string"}], "type": "number"}
    assert found(broken("ArchiveStateChanged", progress=either)) == []
    assert found(broken("ArchiveStateChanged", progress={"type": "string"})) == [
        ("ArchiveStateChanged", "progress", True)
    ]


def test_a_reference_that_leads_out_of_the_document_is_told_and_not_judged():
    (finding,) = drift.compare(broken(isFreePlan={"$ref": "common.json#/Flag"}))
    assert (finding.field, "common.json#/Flag" in finding.says, finding.breaks) == ("isFreePlan", True, False)
    theirs = drift.json_schema()
    theirs["$defs"]["PlanChanged"] = {"allOf": [{"$ref": "#/$defs/Gone"}, {"properties": {"isFreePlan": {}}}]}
    assert found(theirs) == [("PlanChanged", "", False), ("PlanChanged", "isFreePlan", False)]


def test_a_schema_that_is_put_together_is_read_as_the_whole():
    theirs = drift.json_schema()
    common = theirs["$defs"]["PlanChanged"]
    plan = {"properties": {"isFreePlan": common["properties"].pop("isFreePlan")}, "required": ["isFreePlan"]}
    theirs["$defs"] |= {"Common": common, "PlanChanged": {"allOf": [{"$ref": "#/$defs/Common"}, plan]}}
    common["required"].remove("isFreePlan")
    assert found(theirs) == []
    plan["properties"]["isFreePlan"] = {"type": "string"}
    assert found(theirs) == [("PlanChanged", "isFreePlan", True)]


def test_a_new_word_of_a_list_is_told_and_breaks_nothing():
    words = {"type": "string", "enum": ["Ready", "Failed", "Frozen"]}
    (finding,) = drift.compare(broken("ArchiveStateChanged", state=words))
    assert (finding.field, "'Frozen'" in finding.says, finding.breaks) == ("state", True, False)


def test_the_snapshot_is_compared_down_to_its_rows():
    theirs = drift.json_schema()
    device, archive = theirs["$defs"]["Device"], theirs["$defs"]["Archive"]
    del device["properties"]["deviceId"]
    device["properties"] |= {"online": {"type": "string"}, "fwUpdateState": {"enum": ["Idle", "Paused"]}}
    archive["properties"]["colour"] = {"type": "string"}
    assert found(theirs) == [
        ("Snapshot", "devices[].deviceId", True),
        ("Snapshot", "devices[].online", True),
        ("Snapshot", "devices[].fwUpdateState", False),
        ("Snapshot", "archives[].colour", False),
    ]


def test_a_snapshot_in_another_form_breaks_and_one_that_is_missing_is_told():
    theirs = broken("Snapshot", devices={"type": "object"}, user={"type": "array"})
    assert found(theirs) == [("Snapshot", "user", True), ("Snapshot", "devices", True)]
    del theirs["$defs"]["Snapshot"]
    assert found(theirs) == [("Snapshot", "", False)]


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"properties": []}, "Expected `object`"),
        ([], "Expected `bool | object`"),
        ({"$ref": "#/$defs/PlanChanged"}, "refers to itself"),
    ],
)
def test_what_is_no_schema_is_an_error_that_says_where(schema, says):
    theirs = drift.json_schema()
    theirs["$defs"]["PlanChanged"] = schema
    with pytest.raises(BadSchema, match=re.escape(says)):
        drift.compare(theirs)


def test_the_asyncapi_document_has_a_channel_for_every_feed():
    channels = drift.asyncapi("prefix")["channels"]
    assert channels["roleChanged"]["address"] == "/prefix/user/{userId}/roleChanged"
    assert len(channels) == len(FEEDS)
