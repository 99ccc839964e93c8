"""Which of the equal things that two observers saw were the same one: the alignment with the least shift in time.

Equal values can't be told apart, their times can. Order is kept among equals, each shift costs its length, and what is
left without a partner costs more than any shift: so a loss leaves over the one that was lost, not the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

HORIZON = 32
"""How many of each side are looked at. Those after them have no say in who the first one's partner is."""


class Seen(NamedTuple):
    """When it was seen, in seconds; ``leave`` is what it costs to leave it without a partner."""

    at: float
    leave: float


def partner_of_first(ours: Sequence[Seen], theirs: Sequence[Seen], reach: float) -> int | None:
    """Return the index in ``theirs`` of the partner of our first, or none if it is to be left without.

    Both are in the order of their times; partners are at most ``reach`` seconds apart.
    """
    ours, theirs = ours[:HORIZON], theirs[:HORIZON]
    costs = _costs(ours, theirs, reach)
    for index in range(len(theirs)):
        if costs[0][index] == _shift(ours[0], theirs[index], reach) + costs[1][index + 1]:
            return index
        if costs[0][index] == ours[0].leave + costs[1][index]:
            return None
    return None


def _costs(ours: Sequence[Seen], theirs: Sequence[Seen], reach: float) -> list[list[float]]:
    """Return what the best alignment of ``ours[i:]`` with ``theirs[j:]`` costs, by i and j."""
    costs = [[0.0] * (len(theirs) + 1) for _ in range(len(ours) + 1)]
    for j in reversed(range(len(theirs))):
        costs[-1][j] = costs[-1][j + 1] + theirs[j].leave
    for i in reversed(range(len(ours))):
        costs[i][-1] = costs[i + 1][-1] + ours[i].leave
        for j in reversed(range(len(theirs))):
            costs[i][j] = min(
                costs[i + 1][j + 1] + _shift(ours[i], theirs[j], reach),
                costs[i + 1][j] + ours[i].leave,
                costs[i][j + 1] + theirs[j].leave,
            )
    return costs


def _shift(ours: Seen, theirs: Seen, reach: float) -> float:
    shift = abs(ours.at - theirs.at)
    return shift if shift <= reach else float("inf")
