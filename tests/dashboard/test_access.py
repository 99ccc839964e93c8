import pytest

from dashboard import access
from dashboard.models import Membership, User, Visibility
from tests.dashboard.conftest import NOW


def keys(user, prefix=""):
    return {row.key for row in access.visible(user, prefix)}


@pytest.mark.feature("S4.4")
def test_each_person_sees_only_what_was_granted(fleet):
    assert keys(fleet.viewer, "device/") == {"device/org-aurora/cam-1"}
    assert keys(fleet.owner, "device/") == {"device/org-aurora/cam-1", "device/org-aurora/cam-2"}
    assert keys(fleet.rival, "device/") == {"device/org-borealis/cam-1"}


@pytest.mark.feature("S4.14")
def test_what_has_ended_is_not_seen_any_more(fleet):
    Visibility.objects.filter(user=fleet.viewer, key="device/org-aurora/cam-1").update(ended_at=NOW)
    assert not access.may_see(fleet.viewer, "device/org-aurora/cam-1")
    assert not access.fields_of(fleet.viewer, "device/org-aurora/cam-1").exists()
    assert access.may_see(fleet.owner, "device/org-aurora/cam-1")


def test_a_key_that_begins_like_a_visible_one_is_not_visible(fleet):
    assert not access.may_see(fleet.viewer, "device/org-aurora/cam-10")
    assert not access.fields_of(fleet.viewer, "device/org-aurora/cam").exists()


def test_fields_are_those_of_visible_entities(fleet):
    seen = set(access.fields(fleet.rival).values_list("key", flat=True))
    assert seen == keys(fleet.rival)


def test_colleagues_are_the_living_members_of_ones_own_organisations(fleet):
    assert [row.user.username for row in access.colleagues(fleet.viewer)] == ["owner", "viewer"]
    Membership.objects.filter(user=fleet.viewer).update(ended_at=NOW)
    assert list(access.colleagues(fleet.viewer)) == []
    assert [row.user.username for row in access.colleagues(fleet.owner)] == ["owner"]


def test_topics_are_ones_own_and_the_broadcast(fleet):
    topics = access.TopicAccess()
    assert topics.topics_for(fleet.viewer) == [f"user.{fleet.viewer.pk}", "broadcast"]
    assert topics.may_subscribe(fleet.viewer, "broadcast")


@pytest.mark.parametrize("foreign", ["user.{owner}", "org.org-borealis", "ops", "", "user.{viewer}0"])
def test_nobody_may_have_another_topic(fleet, foreign):
    topic = foreign.format(owner=fleet.owner.pk, viewer=fleet.viewer.pk)
    assert not access.TopicAccess().may_subscribe(fleet.viewer, topic)


@pytest.mark.feature("S4.5")
def test_what_is_put_aside_is_neither_seen_nor_named(manager):
    assert keys(manager, "device/") == {"device/org-aurora/cam-1", "device/org-aurora/cam-2"}
    assert not access.may_see(manager, "device/org-borealis/cam-1")
    assert not access.fields_of(manager, "device/org-borealis/cam-1").exists()
    assert keys(manager, "member/") == {"member/org-aurora/sub-manager", "member/org-borealis/sub-manager"}
    assert {row.org_id for row in access.colleagues(manager)} == {"org-aurora"}


@pytest.mark.feature("S4.5")
def test_the_chosen_organisation_is_active_while_one_is_a_member(manager):
    User.objects.filter(pk=manager.pk).update(organization="org-borealis", organization_at=NOW)
    assert access.organizations(manager.pk) == access.Organizations("org-borealis", ("org-aurora",), NOW)
    assert keys(manager, "device/") == {"device/org-borealis/cam-1"}
    Membership.objects.filter(user=manager, org_id="org-borealis").update(ended_at=NOW)
    assert access.organizations(manager.pk).active == "org-aurora"
    assert not access.may_choose(manager, "org-borealis")


def test_who_belongs_nowhere_has_no_active_organisation_and_nothing_put_aside(fleet):
    assert access.organizations(fleet.operator.pk) == access.Organizations()


@pytest.mark.feature("S4.5")
@pytest.mark.parametrize("org_id", ["org-borealis", "org-nowhere", ""])
def test_nobody_may_choose_anothers_organisation(fleet, org_id):
    assert not access.may_choose(fleet.owner, org_id)
