from dashboard import timeline
from dashboard.models import Change, Refused
from realtime.models import Gap
from tests.dashboard.conftest import NOW, link_up

KEY = "device/org-aurora/cam-1"
HOUR = 3_600_000_000


def change(name, value, at, key=KEY):
    Change.objects.create(key=key, name=name, value=value, time=at, recorded_at=at, source="events")


def gap(user, start, end=None, outcome="repaired"):
    return Gap.objects.create(link=user.link, cause="dropped", started_at=start, closed_at=end, outcome=outcome)


def test_changes_refusals_and_gaps_stand_in_one_order(fleet):
    link_up(fleet.viewer)
    change("online", "false", NOW)
    change("online", "true", NOW + 300)
    gap(fleet.viewer, NOW + 100, NOW + 200)
    Refused.objects.create(
        key=KEY, name="online", value="true", time=NOW + 50, recorded_at=NOW + 250, reason="older", source="events"
    )
    lines = timeline.of_entity(fleet.viewer, KEY)
    assert [(line.kind, line.at - NOW) for line in lines] == [
        ("change", 300),
        ("gap", 100),
        ("refused", 50),
        ("change", 0),
    ]
    assert lines[2].text == "older than what is known"


def test_gaps_are_those_of_ones_own_link(fleet):
    link_up(fleet.viewer)
    link_up(fleet.owner)
    gap(fleet.owner, NOW + 100, NOW + 200)
    assert timeline.gaps(fleet.viewer, 0) == []
    assert [line.at for line in timeline.gaps(fleet.owner, 0)] == [NOW + 100]


def test_gaps_that_ended_before_the_window_are_left_out_and_open_ones_never(fleet):
    link_up(fleet.viewer)
    gap(fleet.viewer, NOW - 500, NOW - 400)
    still_open = gap(fleet.viewer, NOW - 300, outcome="open")
    assert [line.at for line in timeline.gaps(fleet.viewer, NOW)] == [still_open.started_at]


def test_recent_changes_are_only_of_what_one_may_see(fleet):
    change("online", "false", NOW)
    change("online", "false", NOW + 1, key="device/org-aurora/cam-2")
    change("online", "false", NOW + 2, key="device/org-borealis/cam-1")
    assert [line.key for line in timeline.recent(fleet.viewer, 10)] == [KEY]


def test_progress_and_what_a_snapshot_brought_are_no_news(fleet):
    change("fwProgress", "10", NOW)
    Change.objects.create(key=KEY, name="model", value='"X"', time=NOW, recorded_at=NOW, source="snapshot")
    change("fwUpdateState", '"Failed"', NOW)
    assert [line.name for line in timeline.recent(fleet.viewer, 10)] == ["fwUpdateState"]


def test_the_rate_counts_the_changes_of_each_minute_of_the_last_hour(fleet):
    minute = 60_000_000
    now = NOW // minute * minute + 30_000_000
    change("online", "true", now)
    change("online", "false", now - minute)
    change("online", "true", now - minute)
    change("online", "false", now - 60 * minute)
    change("online", "true", now, key="device/org-borealis/cam-1")
    assert timeline.rate(fleet.viewer, now) == [0] * 58 + [2, 1]


def test_the_strip_covers_the_day_in_minutes(fleet):
    link_up(fleet.viewer)
    change("online", "true", NOW - 30 * HOUR)
    change("online", "false", NOW - 12 * HOUR)
    gap(fleet.viewer, NOW - 2 * HOUR, outcome="open")
    assert timeline.strip(KEY, fleet.viewer, NOW) == [
        timeline.Span("online", 0, 720),
        timeline.Span("offline", 720, 720),
        timeline.Span("gap", 1320, 120),
    ]


def test_a_presence_that_never_changed_is_known_since_it_was_first_so(fleet):
    link_up(fleet.viewer)
    assert timeline.strip(KEY, fleet.viewer, NOW + 6 * HOUR) == [timeline.Span("online", 1080, 360)]


def test_what_is_not_known_is_left_blank(fleet):
    assert timeline.strip("device/org-aurora/cam-404", fleet.viewer, NOW) == []
