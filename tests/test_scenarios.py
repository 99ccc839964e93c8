"""Every row of the scenario matrix has a test that is named after it, and the reference says where."""

import pytest

from tests.scenarios import table
from tests.scenarios.rows import ROWS

SHOWN = table.shown()


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_a_test_that_is_named_after_it_or_is_planned(row):
    assert (row in SHOWN) is not ROWS[row].endswith("(planned)"), f"test_{row}_…: {ROWS[row]}"


def test_no_test_is_named_after_a_row_that_does_not_exist():
    assert set(SHOWN) - set(ROWS) == set()


def test_the_page_of_the_reference_is_the_one_that_is_generated():
    written = (table.ROOT / "docs/reference/scenarios.md").read_text()
    assert written == table.page(), "renew it as tests/scenarios/table.py says"


def test_a_test_may_show_several_rows(tmp_path):
    folder = tmp_path / "tests"
    folder.mkdir()
    (folder / "test_it.py").write_text("async def test_b01_b02_it_goes(): ...\ndef test_other(): ...\n")
    assert table.shown(folder) == {"b01": {"tests/test_it.py": None}, "b02": {"tests/test_it.py": None}}
