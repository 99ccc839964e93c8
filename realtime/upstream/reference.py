"""Writes the transition table as a page of the reference; a test compares the page with the table. To renew it:

python -m realtime.upstream.reference > docs/reference/connection-states.md
"""

from __future__ import annotations

from realtime.upstream.states import TABLE, State, Trigger

PAGE = """\
# States of a link

Every link to AppSync has one of these states. The table below is the one that runs (`realtime/upstream/states.py`);
this page is generated from it by `python -m realtime.upstream.reference`.

| State | Means |
|---|---|
| stopped | nobody has started it; only `start` and `connect_now` leave this state |
| waiting | a named gate is shut: no credentials, or refused ones; the reason is shown |
| suspended | nobody watches, or an operator said so; nothing is dialled |
| connecting | a token is fetched and the socket is being opened |
| authenticating | the socket is open; the service has not accepted the connection yet |
| syncing | accepted; the subscriptions have not all been answered |
| open | every subscription has its answer; if some were refused, it says which |
| backoff | a try failed, and the next has its time |
| cooling | so many tries failed that the breaker opened; after a while one try decides what follows |
| failed | the policy's attempts are used up; `start`, `connect_now` or another authority begins anew |

An event that a state's row does not list changes nothing in that state. An event of a session that is over, or of a
timer that was disarmed, changes nothing in any state.

A link that is open may have a second session, a candidate that is to replace the first before the service ends it,
after a sleep, or because an operator asked. What the candidate tells never changes the state: once every subscription
has its answer it takes over in one step, and the first session is heard out; if it fails, the next one is tried later.
Only when the first session is lost meanwhile does the link go on from as far as the candidate is.

```mermaid
stateDiagram-v2
    [*] --> stopped
{ways}
```

| State | Event | May lead to, besides staying |
|---|---|---|
{rows}
"""


def page() -> str:
    """Return the page."""
    ways = [f"    {before.value} --> {after.value}: {', '.join(causes)}" for before, after, causes in _ways()]
    rows = [
        f"| {state.value} | `{trigger.value}` | {', '.join(_in_order(to)) or 'stays'} |"
        for state, row in TABLE.items()
        for trigger, to in sorted(row.items(), key=lambda item: list(Trigger).index(item[0]))
    ]
    return PAGE.format(ways="\n".join(ways), rows="\n".join(rows))


def _ways() -> list[tuple[State, State, list[str]]]:
    """Return every pair of states that an event leads through, with those events."""
    pairs = ((before, after) for before in State for after in State if before is not after)
    found = ((before, after, _causes(before, after)) for before, after in pairs)
    return [way for way in found if way[2]]


def _causes(before: State, after: State) -> list[str]:
    return [trigger.value for trigger in Trigger if after in TABLE[before].get(trigger, ())]


def _in_order(states: frozenset[State]) -> list[str]:
    return [state.value for state in State if state in states]


if __name__ == "__main__":
    print(page(), end="")
