import pytest

from dashboard import upstream
from dashboard.freshness import Reason
from realtime import notes
from realtime.merge import canonical
from realtime.models import WORKER_SILENT_AFTER, Gap, Worker

from .conftest import NOW, link_up


@pytest.mark.parametrize(
    ("quiet_for", "reason"), [(WORKER_SILENT_AFTER - 1, Reason.CURRENT), (WORKER_SILENT_AFTER, Reason.WORKER_SILENT)]
)
def test_a_page_counts_a_worker_as_silent_from_the_same_moment_as_the_live_doors(people, quiet_for, reason):
    link_up(people.viewer)
    assert upstream.own_link(people.viewer).freshness(NOW + quiet_for) is reason


def test_a_worker_that_said_goodbye_keeps_no_link(people):
    link_up(people.viewer)
    Worker.objects.update(stopped=True)
    assert upstream.own_link(people.viewer).freshness(NOW) is Reason.WORKER_SILENT


def test_who_never_signed_in_upstream_has_a_link_that_says_so(people):
    link_up(people.viewer)
    link = upstream.own_link(people.rival)
    assert (link.entity.get("state"), link.entity.get("reason")) == ("stopped", "never signed in upstream")
    assert link.freshness(NOW) is Reason.UPSTREAM_DOWN


def test_a_page_and_the_feed_tell_of_a_link_in_the_same_words_and_versions(people):
    link = link_up(people.viewer, state="backoff", reason="the service is away", next_try_at=NOW + 5)
    Gap.objects.create(link=link, cause="the service is away", started_at=NOW - 5)
    (told,) = notes.link_drafts({link.pk}, NOW + 1)
    fields = upstream.own_link(people.viewer).entity.fields
    assert [(name, canonical(known.value), known.time, known.tie) for name, known in fields.items()] == [
        *told.news.fields
    ]
