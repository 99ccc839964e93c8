from realtime.delivery.run import Run, runs
from tests.realtime.delivery.world import make_entry


def test_a_form_is_made_once_and_shared():
    made = []

    def encode(body):
        made.append(body)
        return b"<%b>" % body

    run = Run([make_entry(1), make_entry(2)])
    assert run.encoded(encode) is run.encoded(encode)
    assert made == [entry.body for entry in run.entries]
    assert run.encoded(encode) == b"<%b><%b>" % tuple(made)


def test_each_encoding_has_its_own_form():
    run = Run([make_entry(1)])
    assert run.encoded(bytes.upper) != run.encoded(bytes.lower)


def test_entries_are_cut_where_an_offset_is_missing_or_the_epoch_changes():
    entries = [make_entry(n) for n in (3, 1, 2, 2, 7)] + [make_entry(8, epoch="e2")]
    assert [(run.epoch, run.first, run.last) for run in runs(entries)] == [("e1", 1, 3), ("e1", 7, 7), ("e2", 8, 8)]


def test_nothing_makes_no_run():
    assert list(runs([])) == []
