from pathlib import Path

from django.conf import settings

from realtime.upstream import diagram
from realtime.upstream.states import TABLE

DRAWN = Path(settings.BASE_DIR, "templates", "admin", "realtime", "link", "states.html")


def test_the_operators_page_draws_the_table_that_runs():
    assert DRAWN.read_text() == diagram.template(), "renew it as realtime/upstream/diagram.py says"


def test_every_state_and_every_way_is_drawn():
    drawn = diagram.template()
    ways = {(before, after) for before, row in TABLE.items() for to in row.values() for after in to - {before}}
    assert drawn.count('<g class="node') == len(TABLE)
    assert drawn.count('<path class="edge') == len(ways)
