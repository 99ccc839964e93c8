import pytest

from dashboard import upstream
from dashboard.freshness import Reason
from realtime.models import WORKER_SILENT_AFTER, Worker

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
    link = upstream.own_link(people.rival)
    assert (link.state, link.reason) == ("stopped", "never signed in upstream")
    assert link.entity.key == "link/self"
