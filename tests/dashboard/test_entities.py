from dashboard import access, entities
from dashboard.models import Field
from tests.dashboard.conftest import NOW


def test_fields_are_gathered_by_key_in_one_query(fleet, django_assert_num_queries):
    with django_assert_num_queries(1):
        seen = entities.read(access.fields(fleet.owner, "device/"))
    assert seen["device/org-aurora/cam-1"].get("online") is True
    assert seen["device/org-aurora/cam-2"].get("recording") is None


def test_the_three_times_differ(fleet):
    fields = Field.objects.filter(key="device/org-aurora/cam-1")
    fields.filter(name="online").update(changed_at=NOW + 5, confirmed_at=NOW - 7, heard_at=NOW + 9)
    entity = entities.read(fields)["device/org-aurora/cam-1"]
    assert (entity.changed, entity.confirmed, entity.heard) == (NOW + 5, NOW - 7, NOW + 9)


def test_a_key_has_its_kind_organisation_and_id():
    entity = entities.Entity("device/org-aurora/cam-1")
    assert (entity.kind, entity.org_id, entity.id, entity.name) == ("device", "org-aurora", "cam-1", "cam-1")


def test_names_are_sorted_as_people_count():
    names = ["Camera 10", "camera 9", "Camera 1", "10 front", "Camera", ""]
    assert sorted(names, key=entities.natural) == ["", "10 front", "Camera", "Camera 1", "camera 9", "Camera 10"]
