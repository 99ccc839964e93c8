import json
from pathlib import Path

import pytest

from dashboard import formats

CASES = json.loads((Path(__file__).parent.parent / "formats.json").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['format']}-{case['value']}")
def test_a_value_reads_as_in_the_browser(case):
    assert formats.text(case["value"], case["format"]) == case["text"]


def test_a_field_nobody_told_us_of_is_shown_as_it_comes():
    assert formats.shown("batteryLevel") == formats.Shown("Battery level", "text")


def test_a_time_names_its_zone():
    assert formats.text(1_763_705_523_000_000, "time") == "2025-11-21 06:12:03 UTC"


def test_recording_is_a_flag_or_a_word():
    assert [formats.is_recording(value) for value in (True, "Recording", False, "Idle", None)] == [True, True] + [
        False
    ] * 3
