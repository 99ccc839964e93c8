"""What payloads hold beyond what is known here is counted with a sample, and never in the way."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import strays
from realtime.decoding import Undecodable, path_in
from realtime.documents import facts
from realtime.feeds import FEEDS
from realtime.models import Drift
from realtime.strays import EVERY, Stray, Strays
from tests.realtime.test_decoding import WHOLE

pytestmark = pytest.mark.feature("S4.10")

FIRMWARE = "device/firmwareUpdated"


def payload(**fields):
    return msgspec.json.encode({"orgId": "org", "deviceId": "d1", "fwUpdateState": "Idle", **fields}).decode()


def found(text, feed=FIRMWARE, dialect="events"):
    return sorted(strays.strays(dialect, feed, text, facts(dialect, feed, text)))


def test_what_is_known_is_no_stray():
    assert found(payload(progress=4, version="1", timestamp="2026-01-01T00:00:00Z", schemaVersion=2)) == []


def test_a_field_that_nothing_reads_is_one():
    assert found(payload(colour="red", batteries=[1])) == [Stray(FIRMWARE, "$.batteries"), Stray(FIRMWARE, "$.colour")]


def test_a_word_that_no_list_has_is_one():
    assert found(payload(fwUpdateState="Verifying")) == [Stray(FIRMWARE, "$.fwUpdateState", '"Verifying"')]


def test_an_ended_membership_is_no_new_word():
    assert found('{"orgId":"org","userId":"u","role":null}', "roleChanged") == []


def test_in_the_other_dialect_new_words_are_found_too():
    text = '{"onRoleChange":{"orgId":"org","userId":"u","role":"Guest"}}'
    assert found(text, "onRoleChange org", "graphql") == [Stray("roleChanged", "$.role", '"Guest"')]


@pytest.mark.parametrize("feed", FEEDS, ids=lambda feed: feed.name)
def test_every_feeds_words_are_in_fields_that_it_sets(feed):
    event = msgspec.convert(WHOLE, feed.event)
    assert feed.words.keys() <= feed.fields(event).keys()


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=4))
def test_no_name_of_a_field_is_too_strange(more):
    text = payload(**{name: value for name, value in more.items() if name not in WHOLE and name != "fwVersion"})
    assert all(stray.path.startswith("$.") for stray in found(text))


# ── Counting ─────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def met(db):
    kept = Strays()

    def meet(text, at):
        kept.meet("events", FIRMWARE, text, facts("events", FIRMWARE, text), at)
        kept.write(at)

    return meet


def rows():
    return list(Drift.objects.order_by("path").values_list("path", "word", "count", "first_at", "last_at"))


def test_what_is_new_is_written_at_once_and_what_grows_now_and_then(met):
    met(payload(colour="red"), EVERY)
    assert rows() == [("$.colour", "", 1, EVERY, EVERY)]
    met(payload(colour="blue"), EVERY + 1)
    assert rows() == [("$.colour", "", 1, EVERY, EVERY)]
    met(payload(colour="green"), 2 * EVERY)
    assert rows() == [("$.colour", "", 3, EVERY, 2 * EVERY)]
    assert "green" in Drift.objects.get().sample


def test_two_workers_count_together(met):
    met(payload(colour="red"), EVERY)
    other = Strays()
    text = payload(colour="red")
    other.meet("events", FIRMWARE, text, facts("events", FIRMWARE, text), 5 * EVERY)
    other.write(5 * EVERY)
    assert rows() == [("$.colour", "", 2, EVERY, 5 * EVERY)]


def test_names_that_are_made_of_data_fill_no_table(met, monkeypatch):
    monkeypatch.setattr(strays, "MOST_KINDS", 3)
    for number in range(9):
        met(payload(**{f"field-{number}": 1}), (number + 1) * EVERY)
    assert len(rows()) == 3
    met(payload(**{"field-0": 1}), 20 * EVERY)
    assert rows()[0][2] == 2


def test_a_name_that_no_database_would_keep_is_kept_all_the_same(met):
    met(payload(**{"co\x00lour": "\x00"}), EVERY)
    assert rows()[0][0] == "$.co\\u0000lour"


def test_nothing_met_writes_nothing(met, django_assert_num_queries):
    with django_assert_num_queries(0):
        met(payload(), EVERY)


# ── What can't be read ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "path"),
    [
        (payload(progress="much"), "$.progress"),
        (payload(eventType="another"), "$.eventType"),
        ('{"orgId":"org"}', ""),
        ("no JSON", ""),
    ],
)
def test_an_unreadable_payload_names_the_place_if_there_is_one(text, path):
    with pytest.raises(Undecodable) as error:
        facts("events", FIRMWARE, text)
    assert path_in(str(error.value)) == path
