"""Operators' wishes outlive every process, and their answer has a deadline."""

import pytest
from django.contrib.auth import get_user_model

from realtime import control
from realtime.models import Link

pytestmark = [pytest.mark.django_db, pytest.mark.feature("S4.3")]


@pytest.fixture
def link():
    user = get_user_model().objects.create_user("viewer", subject="sub-viewer")
    return Link.objects.create(user=user, subject=user.subject)


@pytest.mark.parametrize(
    ("operation", "desire", "reconnects"),
    [("suspend", "suspended", 0), ("resume", "auto", 0), ("reconnect", "auto", 1)],
)
def test_a_wish_is_a_row_with_a_revision_of_its_own(link, operation, desire, reconnects):
    assert control.wish(link.pk, operation) == 1
    link.refresh_from_db()
    assert (link.desire, link.reconnect_wanted, link.desired_revision) == (desire, reconnects, 1)


def test_each_wish_has_a_later_revision(link):
    assert [control.wish(link.pk, "reconnect") for _ in range(3)] == [1, 2, 3]


def test_an_unknown_wish_is_refused(link):
    with pytest.raises(ValueError, match="explode"):
        control.wish(link.pk, "explode")


@pytest.mark.parametrize("operation", ["rotate", "repair"])
@pytest.mark.parametrize(
    ("state", "reason", "next_step"),
    [
        ("suspended", "nobody is watching", "reconnect brings it up"),
        ("stopped", "the worker stopped", "reconnect brings it up"),
        ("failed", "gave up after 5 attempts", "reconnect brings it up"),
        ("waiting", "not signed in upstream: sign in again", ""),
    ],
)
def test_what_a_link_that_is_down_can_not_do_is_refused_with_the_reason_and_what_to_do(
    link, operation, state, reason, next_step
):
    Link.objects.update(state=state, reason=reason)
    with pytest.raises(control.NotNow) as refused:
        control.wish(link.pk, operation)
    assert str(refused.value).startswith(f"the link is {state}: {reason}; it ")
    assert str(refused.value).endswith(next_step)
    link.refresh_from_db()
    assert (link.rotate_wanted, link.repair_wanted, link.desired_revision) == (0, 0, 0)


def test_a_link_that_is_on_its_way_is_compared_once_it_is_there_and_has_nothing_to_replace(link):
    Link.objects.update(state="backoff", reason="connection lost")
    assert control.wish(link.pk, "repair") == 1
    with pytest.raises(control.NotNow, match=r"the link is backoff: connection lost; it has no connection to replace$"):
        control.wish(link.pk, "rotate")


@pytest.mark.parametrize("operation", ["reconnect", "rotate", "repair"])
def test_what_an_operator_suspended_is_to_be_resumed_first(link, operation):
    control.wish(link.pk, "suspend")
    with pytest.raises(control.NotNow, match="resume it first"):
        control.wish(link.pk, operation)


@pytest.mark.parametrize("operation", ["reconnect", "rotate", "repair"])
def test_the_link_of_an_account_that_may_not_be_signed_in_stays_closed(link, operation):
    get_user_model().objects.update(is_active=False)
    with pytest.raises(control.NotNow, match="not active"):
        control.wish(link.pk, operation)


def test_a_link_that_is_not_there_is_an_error():
    with pytest.raises(Link.DoesNotExist):
        control.wish(1, "suspend")


def test_the_answer_comes_once_a_worker_followed(link):
    revision = control.wish(link.pk, "suspend")

    def follow(seconds):
        Link.objects.update(applied_revision=revision, state="suspended")

    assert control.wait_applied(link.pk, revision, sleep=follow).state == "suspended"


def test_without_a_worker_the_deadline_says_so_and_the_wish_stands(link):
    revision = control.wish(link.pk, "suspend")
    with pytest.raises(control.NotApplied, match="upstream"):
        control.wait_applied(link.pk, revision, seconds=1.0, sleep=lambda seconds: None)
    link.refresh_from_db()
    assert link.desire == Link.Desire.SUSPENDED


@pytest.mark.feature("S4.5")
def test_a_users_switch_is_a_wish_of_the_own_link_alone(link):
    other = get_user_model().objects.create_user("owner", subject="sub-owner")
    control.switch(link.user_id)
    control.switch(other.pk)
    link.refresh_from_db()
    assert (link.switch_wanted, link.desired_revision, link.desire) == (1, 1, "auto")
