"""Draws the transition table for the operators' page of a link.

The drawing is a generated template kept beside the page's own, because the web process imports nothing of this
room; a test compares it with the table. To renew it:

    python -m realtime.upstream.diagram > templates/admin/realtime/link/states.html
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from xml.sax.saxutils import escape

from realtime.upstream.states import TABLE, State

WIDTH, HEIGHT = 1000, 470
NODE_WIDTH, NODE_HEIGHT = 136, 40
BEND = 0.14  # how far a line bows out, by its length: long ones clear the nodes between, and the way back its way

PLACES = {
    State.STOPPED: (100, 90),
    State.WAITING: (490, 90),
    State.SUSPENDED: (880, 90),
    State.CONNECTING: (100, 235),
    State.AUTHENTICATING: (360, 235),
    State.SYNCING: (620, 235),
    State.OPEN: (880, 235),
    State.COOLING: (230, 380),
    State.BACKOFF: (490, 380),
    State.FAILED: (880, 380),
}

COMMON_FROM = 5  # what as many states understand alike (stop, suspend, …) is drawn for the current state only


def template() -> str:
    """Return the drawing as a template: ``link.state`` decides which node, and which lines from it, are lit."""
    edges = _edges()
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="States of a link and what leads where">',
        '<defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z"/></marker></defs>',
        *(_line(*edge) for edge in edges),
        *(_node(state) for state in State),
        *(_label(before, after, causes) for before, after, causes, _ in edges),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _edges() -> list[tuple[State, State, list[str], bool]]:
    """Every pair of states that the table connects, with the triggers, and whether nothing but common ones."""
    shared = Counter((trigger, after) for row in TABLE.values() for trigger, to in row.items() for after in to)
    found: dict[tuple[State, State], list[tuple[str, bool]]] = defaultdict(list)
    for state, row in TABLE.items():
        for trigger, to in row.items():
            for after in to - {state}:
                found[state, after].append((trigger.value, shared[trigger, after] >= COMMON_FROM))
    order = list(State)
    return [
        (before, after, [name for name, _ in causes], all(common for _, common in causes))
        for (before, after), causes in sorted(found.items(), key=lambda i: (order.index(i[0][0]), order.index(i[0][1])))
    ]


def _node(state: State) -> str:
    x, y = PLACES[state]
    left, top = x - NODE_WIDTH // 2, y - NODE_HEIGHT // 2
    return (
        f'<g class="node{_lit(state)}">'
        f'<rect x="{left}" y="{top}" width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="8"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle">{state.value}</text></g>'
    )


def _line(before: State, after: State, causes: list[str], common: bool) -> str:
    middle = _middle(before, after)
    start, end = _border(PLACES[before], middle), _border(PLACES[after], middle)
    return (
        f'<path class="edge{" common" if common else ""}{_lit(before)}" '
        f'd="M{_point(start)} Q{_point(middle)} {_point(end)}" marker-end="url(#arrow)">'
        f"<title>{_words(causes)}</title></path>"
    )


def _label(before: State, after: State, causes: list[str]) -> str:
    """The triggers in words, on the line, nearer to where it leads."""
    start, middle, end = PLACES[before], _middle(before, after), PLACES[after]
    x, y = (0.16 * start[i] + 0.48 * middle[i] + 0.36 * end[i] for i in (0, 1))
    return f'<text class="cause{_lit(before)}" x="{x:.0f}" y="{y:.0f}" text-anchor="middle">{_words(causes)}</text>'


def _middle(before: State, after: State) -> tuple[float, float]:
    """The point towards which the line bows: beside the straight way, on the left of who goes it."""
    (x1, y1), (x2, y2) = PLACES[before], PLACES[after]
    return (x1 + x2) / 2 + (y2 - y1) * BEND, (y1 + y2) / 2 - (x2 - x1) * BEND


def _words(causes: list[str]) -> str:
    return escape(", ".join(cause.replace("_", " ") for cause in causes))


def _lit(state: State) -> str:
    return f'{{% if link.state == "{state.value}" %}} lit{{% endif %}}'


def _border(node: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Where the way from the middle of a node to another point leaves the node's box."""
    dx, dy = towards[0] - node[0], towards[1] - node[1]
    scale = min(NODE_WIDTH / 2 / abs(dx) if dx else math.inf, NODE_HEIGHT / 2 / abs(dy) if dy else math.inf)
    return node[0] + dx * scale, node[1] + dy * scale


def _point(point: tuple[float, float]) -> str:
    return f"{point[0]:.0f} {point[1]:.0f}"


if __name__ == "__main__":
    print(template(), end="")
