import msgspec
import pytest

from dashboard.product import state
from realtime.merge import tie
from realtime.models import Gap
from tests.dashboard.conftest import NOW, link_up


def snapshot(user):
    return msgspec.json.decode(msgspec.json.encode(state.snapshot(user)))


def test_a_snapshot_holds_every_visible_field_with_its_version(fleet):
    entities = snapshot(fleet.viewer)["entities"]
    assert entities["device/org-aurora/cam-1"]["online"] == [True, NOW, tie("true")]
    assert entities["organization/org-aurora"]["AIControlSetting"][0]["zones"] == ["entrance"]


@pytest.mark.parametrize("who", ["viewer", "owner", "rival"])
def test_a_snapshot_holds_nothing_else(fleet, who):
    user = getattr(fleet, who)
    granted = set(user.visibilities.filter(ended_at=None).values_list("key", flat=True))
    assert set(snapshot(user)["entities"]) == granted | {"link/self", "view/self"}


@pytest.mark.feature("S4.5")
def test_a_snapshot_holds_the_active_organisation_and_says_what_is_put_aside(manager):
    entities = snapshot(manager)["entities"]
    assert {key.split("/")[1] for key in entities if not key.startswith(("member/", "link/", "view/"))} == {
        "org-aurora"
    }
    assert {name: field[0] for name, field in entities["view/self"].items()} == {
        "organization": "org-aurora",
        "aside": ["org-borealis"],
    }
    assert "member/org-borealis/sub-manager" in entities


def test_meta_has_the_times_of_every_entity(fleet):
    body = snapshot(fleet.viewer)
    assert set(body["meta"]) == set(body["entities"])
    assert body["meta"]["device/org-aurora/cam-1"] == {"changed": NOW, "confirmed": NOW, "heard": NOW}


def test_ones_own_link_is_an_entity_with_its_open_gap(fleet):
    link = link_up(fleet.viewer, state="backoff", reason="refused", next_try_at=NOW + 5)
    Gap.objects.create(link=link, cause="refused", started_at=NOW - 9)
    fields = snapshot(fleet.viewer)["entities"]["link/self"]
    values = {name: field[0] for name, field in fields.items()}
    gap = {"since": NOW - 9, "cause": "refused"}
    assert values == {"state": "backoff", "reason": "refused", "since": NOW - 1000, "next_try": NOW + 5, "gap": gap}


def test_a_person_who_never_connected_has_a_stopped_link(fleet):
    assert snapshot(fleet.rival)["entities"]["link/self"]["state"][0] == "stopped"


def test_the_number_of_queries_is_fixed(fleet, django_assert_max_num_queries):
    link_up(fleet.owner)
    with django_assert_max_num_queries(5):
        state.snapshot(fleet.owner)
