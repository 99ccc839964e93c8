import pytest
from django.contrib.auth import get_user_model

from realtime import control, wanted
from realtime.models import BUCKETS, Credential, Link, bucket_of

pytestmark = pytest.mark.django_db

NOW = 1_790_000_000_000_000
EVERY = range(BUCKETS)


@pytest.fixture
def links():
    """Three people, each with a link of whom nobody wants anything."""
    users = [get_user_model().objects.create(username=name, subject=f"sub-{name}") for name in ("ann", "bob", "cid")]
    return [Link.objects.create(user=user, subject=user.subject) for user in users]


def ids(found):
    return {row.link_id: row.present for row in found}


def test_a_link_of_whom_nobody_wants_anything_is_not_looked_at(links):
    assert wanted.look(EVERY, set(), set(), set(), NOW) == []


def test_links_of_other_buckets_are_not_looked_at(links):
    everybody = {link.user_id for link in links}
    found = wanted.look({bucket_of(links[0].pk)}, everybody, everybody, {link.pk for link in links}, NOW)
    assert ids(found) == {links[0].pk: True}


@pytest.mark.feature("S2.8")
def test_presence_and_a_sign_in_want_a_link_and_a_kept_one_is_told_that_nobody_does(links):
    present, signed_in, kept = links
    Link.objects.filter(pk=signed_in.pk).update(wanted_at=NOW + 1)
    found = wanted.look(EVERY, {present.user_id}, {present.user_id}, {kept.pk}, NOW)
    assert ids(found) == {present.pk: True, signed_in.pk: True, kept.pk: False}


def test_an_operators_wish_is_seen_until_it_is_followed(links):
    revision = control.wish(links[0].pk, "suspend")
    (row,) = wanted.look(EVERY, set(), set(), set(), NOW)
    assert (row.suspended, row.present, row.revision, row.applied) == (True, False, revision, 0)
    wanted.note_applied([(row.link_id, revision)])
    assert wanted.look(EVERY, set(), set(), set(), NOW) == []


def test_an_older_wish_that_was_followed_late_hides_no_newer_one(links):
    older, newer = control.wish(links[0].pk, "suspend"), control.wish(links[0].pk, "resume")
    wanted.note_applied([(links[0].pk, newer)])
    wanted.note_applied([(links[0].pk, older)])
    assert control.wait_applied(links[0].pk, newer).applied_revision == newer


def test_tokens_come_with_the_link_of_their_user_and_their_refusal_too(links):
    Credential.objects.create(user=links[1].user, sealed=b"", generation=3, refused="revoked")
    found = wanted.look(EVERY, set(), set(), {link.pk for link in links}, NOW)
    assert {row.link_id: (row.generation, row.refused) for row in found} == {
        links[0].pk: (0, ""),
        links[1].pk: (3, "revoked"),
        links[2].pk: (0, ""),
    }


def test_an_account_that_may_not_be_signed_in_is_told_apart(links):
    get_user_model().objects.filter(pk=links[0].user_id).update(is_active=False)
    assert [row.active for row in wanted.look(EVERY, {links[0].user_id}, {links[0].user_id}, set(), NOW)] == [False]
