import json

import msgspec

from realtime.emulator import transcript
from realtime.emulator.transcript import Transcript


def test_memory_is_bounded_and_says_where_it_begins(monkeypatch):
    monkeypatch.setattr(transcript, "RING", 3)
    kept = Transcript()
    assert kept.first == 1
    for _ in range(5):
        kept.add("sent")
    assert kept.first == 3
    records, following = kept.since(0)
    assert [record.n for record in records] == [3, 4, 5]
    assert following == 5


def test_memory_is_bounded_by_what_the_records_hold(monkeypatch):
    monkeypatch.setattr(transcript, "RING_BYTES", 100)
    kept = Transcript()
    kept.add("published", event="x" * 60)
    kept.add("delivered", frame=msgspec.Raw(b'"' + b"x" * 38 + b'"'))
    assert kept.first == 1
    kept.add("published", event="x")
    assert kept.first == 2
    kept.add("published", event="x" * 101)
    assert (kept.first, kept.since(0)) == (5, ([], 4))


def test_a_page_ends_where_the_next_begins():
    kept = Transcript()
    for i in range(10):
        kept.add("published" if i % 2 else "sent")
    page, following = kept.since(0, "published", 2)
    assert [record.n for record in page] == [2, 4]
    page, following = kept.since(following, "published", 2)
    assert [record.n for record in page] == [6, 8]


def test_c14_a_file_has_all_records(tmp_path, monkeypatch):
    monkeypatch.setattr(transcript, "RING", 1)
    kept = Transcript(tmp_path / "transcript")
    kept.add("published", channel="/default/a", event="1")
    kept.add("sent", frame={"type": "ka"})
    kept.close()
    lines = [json.loads(line) for line in (tmp_path / "transcript").read_text().splitlines()]
    assert [line["n"] for line in lines] == [1, 2]
    assert lines[0]["event"] == "1"
