"""Schemas: what we export describes what we read, and what differs is found."""

import copy

import pytest

from realtime import drift
from realtime.feeds import FEEDS


def broken(**fields):
    theirs = copy.deepcopy(drift.json_schema())
    for name, schema in fields.items():
        theirs["$defs"]["PlanChanged"]["properties"][name] = schema
    return theirs


@pytest.mark.feature("S4.10")
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


def test_the_asyncapi_document_has_a_channel_for_every_feed():
    channels = drift.asyncapi("prefix")["channels"]
    assert channels["roleChanged"]["address"] == "/prefix/user/{userId}/roleChanged"
    assert len(channels) == len(FEEDS)
