"""Which fault concerns what, and for how long."""

import pytest

from realtime.emulator.faults import Fault, FaultError, Faults, decode_faults


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def faults(clock):
    return Faults(clock)


def test_nothing_stands_at_first(faults):
    assert not faults.standing
    assert faults.match("lose") is None


@pytest.mark.feature("B10")
def test_a_fault_stands_until_it_is_cleared(faults):
    fault = faults.add(Fault("lose"))
    assert [faults.match("lose") for _ in range(3)] == [fault] * 3
    assert faults.match("stall") is None
    faults.clear()
    assert faults.match("lose") is None


def test_clearing_one_kind_leaves_the_others(faults):
    faults.add(Fault("lose"))
    other = faults.add(Fault("stall"))
    faults.clear("lose")
    assert faults.list() == [other]


def test_a_fault_ends_after_its_hits(faults):
    faults.add(Fault("lose", count=2))
    assert [faults.match("lose") is not None for _ in range(3)] == [True, True, False]
    assert not faults.standing


def test_a_fault_ends_after_its_time(faults, clock):
    faults.add(Fault("lose", seconds=5))
    clock.now = 4.9
    assert faults.match("lose")
    clock.now = 5.0
    assert faults.match("lose") is None
    assert not faults.standing


@pytest.mark.parametrize(
    ("narrow", "case"),
    [
        ({"sub": "a"}, {"sub": "a"}),
        ({"connection": "c1"}, {"connection": "c1"}),
        ({"channel": "presence"}, {"channel": "/x/presenceChanged"}),
        ({"operation": "publish"}, {"operation": "publish"}),
        ({"index": 0}, {"index": 0}),
    ],
)
def test_a_filter_lets_only_its_own_case_through(faults, narrow, case):
    fault = faults.add(Fault("lose", **narrow))
    assert faults.match("lose", sub=None) is None
    assert faults.match("lose", **dict.fromkeys(case, "other")) is None
    assert fault.hits == 0
    assert faults.match("lose", **case) is fault


def test_what_acts_at_once_stands_only_if_it_is_given_a_time(faults):
    faults.add(Fault("drop"))
    assert not faults.standing
    faults.add(Fault("drop", seconds=1))
    assert faults.match("drop")


def test_reads_one_or_several_by_their_wire_names():
    assert decode_faults(b'{"kind":"drop","for":2,"errorType":"X"}') == [Fault("drop", seconds=2, error_type="X")]
    assert len(decode_faults(b'[{"kind":"drop"},{"kind":"stall"}]')) == 2


@pytest.mark.parametrize(
    "text", [b"", b"{}", b'{"kind":"nonsense"}', b'{"kind":"drop","fro":2}', b'{"kind":"refuse","status":600}']
)
def test_what_cannot_be_read_is_refused_with_the_kinds_there_are(text):
    with pytest.raises(FaultError, match="half-open"):
        decode_faults(text)


@pytest.mark.parametrize("code", [0, 999, 1005, 1006, 5000])
def test_a_close_code_that_cannot_be_sent_is_refused(code):
    with pytest.raises(FaultError, match=str(code)):
        decode_faults(b'{"kind":"drop","code":%d}' % code)
