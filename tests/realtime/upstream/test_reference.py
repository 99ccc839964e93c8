from pathlib import Path

from django.conf import settings

from realtime.upstream import reference
from realtime.upstream.states import TABLE, State

WRITTEN = Path(settings.BASE_DIR, "docs", "reference", "connection-states.md")


def test_the_page_of_the_reference_shows_the_table_that_runs():
    assert WRITTEN.read_text() == reference.page(), "renew it as realtime/upstream/reference.py says"


def test_every_row_of_the_table_is_on_the_page_once():
    lines = reference.page().splitlines()
    for state, row in TABLE.items():
        for trigger in row:
            assert len([line for line in lines if line.startswith(f"| {state.value} | `{trigger.value}` |")]) == 1


def test_the_drawing_has_every_way_with_its_events():
    drawn = [line.strip() for line in reference.page().splitlines() if " --> " in line]
    ways = {(before, after) for before, row in TABLE.items() for to in row.values() for after in to if after != before}
    assert len(drawn) == len(ways) + 1
    assert "syncing --> open: synced, sync_timeout" in drawn
    assert {line.split()[0] for line in drawn} == {"[*]", *(state.value for state in State)}
