"""Who may see what, as copies and snapshots of the person alone say."""

import pytest

from dashboard import access, standing
from dashboard.models import Membership, Visibility
from tests.dashboard.conftest import NOW
from tests.dashboard.test_recording import AURORA, CAM, LATER, SECOND, copy, device, presence, role, snapshot

pytestmark = [pytest.mark.django_db, pytest.mark.feature("S4.14")]

ATTIC = "device/org-aurora/cam-7"


def test_a_copy_on_the_own_channel_shows_its_entity_to_that_user_alone(fleet):
    assert standing.grant([presence(fleet.viewer, True, device="cam-7")]).seen == [True]
    assert access.may_see(fleet.viewer, ATTIC)
    assert not access.may_see(fleet.owner, ATTIC)


def test_only_the_first_copy_is_fresh(fleet):
    granted = standing.grant([presence(fleet.viewer, True, device="cam-7")] * 2)
    assert list(granted.fresh) == [(fleet.viewer.pk, ATTIC)]
    assert standing.grant([presence(fleet.viewer, True, device="cam-7")]).fresh == {}


def test_a_copy_from_before_the_end_of_a_visibility_does_not_bring_it_back(fleet):
    Visibility.objects.filter(user=fleet.viewer, key=CAM).update(ended_at=LATER)
    assert standing.grant([presence(fleet.viewer, True, LATER)]).seen == [False]
    assert standing.grant([presence(fleet.viewer, True, LATER + 1)]).seen == [True]


def test_a_membership_is_learned_from_a_copy_where_no_snapshot_tells(people):
    assert standing.grant([presence(people.viewer, True)]).seen == [True]
    assert Membership.objects.get(user=people.viewer).org_id == "org-aurora"


def test_nothing_of_an_organization_is_shown_after_the_membership_ended(fleet):
    standing.change_role(role(fleet.viewer, None, LATER))
    colleague = role(fleet.viewer, "Admin", LATER + 1, of="sub-owner")
    assert standing.grant([presence(fleet.viewer, True, LATER + 1), colleague]).seen == [False, False]


def test_the_own_role_is_shown_even_after_the_end(fleet):
    standing.change_role(role(fleet.viewer, None, LATER))
    assert standing.grant([role(fleet.viewer, "Viewer", LATER + 1)]).seen == [True]


def test_tokens_of_somebody_else_are_not_this_users_business(fleet):
    foreign = copy(fleet.viewer, "tokenRevoked", userId="sub-owner")
    assert standing.grant([foreign]).seen == [False]


def test_another_members_role_changes_nothing_of_the_own(fleet):
    assert standing.change_role(role(fleet.viewer, None, of="sub-owner")) is None
    assert access.may_see(fleet.viewer, CAM)


def test_an_older_role_does_not_undo_a_newer_one(fleet):
    standing.change_role(role(fleet.viewer, "Admin", LATER))
    assert standing.change_role(role(fleet.viewer, None, LATER - 1)) is None
    assert Membership.objects.get(user=fleet.viewer).role == "Admin"


def test_the_end_of_a_membership_leaves_only_the_word_of_it(fleet):
    left = standing.change_role(role(fleet.viewer, None, LATER))
    assert left == {CAM, "organization/org-aurora", "archive/org-aurora/clip-1"}
    assert list(access.visible(fleet.viewer).values_list("key", flat=True)) == ["member/org-aurora/sub-viewer"]


def test_a_snapshot_without_an_organization_ends_the_membership(fleet):
    standing.follow(fleet.viewer.pk, snapshot(fleet.viewer, LATER), [], LATER)
    assert Membership.objects.get(user=fleet.viewer).ended_at == LATER
    assert standing.belongs_nowhere(fleet.viewer.pk)
    assert not access.visible(fleet.viewer).exists()


def test_who_never_belonged_anywhere_was_not_put_out(people):
    assert not standing.belongs_nowhere(people.viewer.pk)


def test_a_snapshot_from_before_a_role_change_does_not_undo_it(fleet):
    standing.change_role(role(fleet.viewer, None, LATER))
    told = snapshot(fleet.viewer, NOW + SECOND, [AURORA], [device(7)])
    came, _ = standing.follow(fleet.viewer.pk, told, [ATTIC], NOW + SECOND)
    assert came == set()
    assert Membership.objects.get(user=fleet.viewer).ended_at == LATER


def test_what_a_copy_showed_after_the_snapshot_was_taken_stays(fleet):
    standing.grant([presence(fleet.viewer, True, LATER, device="cam-7")])
    _, went = standing.follow(fleet.viewer.pk, snapshot(fleet.viewer, LATER - 1, [AURORA]), [CAM], LATER - 1)
    assert ATTIC not in went
    assert access.may_see(fleet.viewer, ATTIC)


def test_of_what_a_wider_source_tells_only_what_is_seen_already_or_is_personal_concerns_a_user(fleet):
    personal = {"member/org-aurora/sub-viewer", "user/sub-viewer"}
    strangers = {ATTIC, "member/org-aurora/sub-owner", "user/sub-owner"}
    assert standing.visible(fleet.viewer.pk, {CAM} | personal | strangers) == {CAM} | personal
    Visibility.objects.filter(user=fleet.viewer, key=CAM).update(ended_at=LATER)
    assert standing.visible(fleet.viewer.pk, {CAM}) == set()


# ── Whom an event concerns that came without the name of its channel ─────────────────────────────────────────

wide = pytest.mark.feature("S4.4")


@wide
def test_an_entity_concerns_those_who_see_it_now(fleet):
    Visibility.objects.filter(user=fleet.owner, key=CAM).update(ended_at=LATER)
    found = standing.audience([CAM])
    assert fleet.viewer.pk in found.seen[CAM] and fleet.owner.pk not in found.seen[CAM]
    assert found.strange == {}


@wide
def test_an_entity_that_nobody_sees_is_asked_about_by_its_organisations_members(fleet):
    Membership.objects.filter(user=fleet.owner).update(ended_at=LATER)
    found = standing.audience([ATTIC, "device/org-nobody/cam-1"])
    assert found.seen == {ATTIC: set(), "device/org-nobody/cam-1": set()}
    assert found.strange["device/org-nobody/cam-1"] == set()
    assert fleet.viewer.pk in found.strange[ATTIC]
    assert not found.strange[ATTIC] & {fleet.owner.pk, fleet.rival.pk}


@wide
def test_what_everybody_lost_sight_of_is_strange_when_something_comes_of_it_again(fleet):
    Visibility.objects.filter(key=CAM).update(ended_at=LATER)
    found = standing.audience([CAM])
    assert found.seen == {CAM: set()} and fleet.viewer.pk in found.strange[CAM]


@wide
@pytest.mark.parametrize("key", ["user/sub-viewer", "member/org-elsewhere/sub-viewer"])
def test_the_own_role_and_token_concern_their_person_and_are_never_strange(fleet, key):
    assert standing.audience([key]) == ({key: {fleet.viewer.pk}}, {})


@wide
def test_somebody_elses_token_concerns_nobody_here(fleet):
    assert standing.audience(["user/sub-stranger"]) == ({"user/sub-stranger": set()}, {})
