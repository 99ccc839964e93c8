"""A hand on the pure core: a model that events are given to, one after the other, and what they led to."""

from random import Random

from realtime.upstream.model import MANAGER, Close, Dial, Event, Model, Publish, TimerKind, Use
from realtime.upstream.policy import Breaker, Policy
from realtime.upstream.states import State, Trigger
from realtime.upstream.step import step

T = Trigger

PATHS = {
    State.STOPPED: (),
    State.CONNECTING: (T.START,),
    State.AUTHENTICATING: (T.START, T.TRANSPORT_UP),
    State.SYNCING: (T.START, T.TRANSPORT_UP, T.ACCEPTED),
    State.OPEN: (T.START, T.TRANSPORT_UP, T.ACCEPTED, T.SYNCED),
    State.BACKOFF: (T.START, T.DROPPED),
    State.WAITING: (T.GATE_LOST, T.START),
    State.SUSPENDED: (T.SUSPEND, T.START),
    State.COOLING: (T.START, T.DROPPED),
    State.FAILED: (T.START, T.CONNECT_TIMEOUT),
}
"""The shortest way into each state; into ``cooling`` and ``failed`` with a policy that allows no second try."""

GIVES_UP = Policy(max_attempts=0, breaker=None)
COOLS = Policy(breaker=Breaker(failures=1))
SHORTEST = {State.FAILED: GIVES_UP, State.COOLING: COOLS}
TELLS = {T.PERMITTED, T.TRANSPORT_UP, T.ACCEPTED, T.SYNCED, T.DROPPED, T.AUTH_REJECTED, T.TOKEN_FAILED, T.HEARD}
SLOTS = ("active", "candidate", "draining")
FIRINGS = {kind.value: kind for kind in TimerKind}


class Stepping:
    """One model under way. ``now`` moves only when told to."""

    def __init__(self, policy=None, seed=1):
        self.policy = policy or Policy()
        self.rng = Random(seed)
        self.model = Model()
        self.now = 1_000.0
        self.effects = []
        self.snapshots = []

    @classmethod
    def into(cls, state, policy=None):
        """Return one that has just come into this state."""
        stepping = cls(SHORTEST.get(state, policy))
        for trigger in PATHS[state]:
            stepping(trigger)
        assert stepping.state is state
        return stepping

    @property
    def state(self):
        return self.model.state

    @property
    def session(self):
        return self.session_of("active")

    def session_of(self, slot):
        """Return the id of the session in a slot, or none."""
        held = getattr(self.model, slot)
        return held.id if held else None

    def timer(self, kind, slot="active"):
        """Return the armed timer of this kind, of a slot or (with the active one) of the manager itself; or none."""
        mine = (self.session_of(slot), MANAGER if slot == "active" else None)
        return next((timer for timer in self.model.timers if timer.kind is kind and timer.session in mine), None)

    def event(self, trigger, slot="active", **fields):
        """Return the event as the shell would post it now: of a slot's session, or of the armed timer."""
        if trigger in FIRINGS:
            timer = self.timer(FIRINGS[trigger], slot)
            fired = {"session": timer.session or None, "token": timer.token} if timer else {"token": -1}
            return Event(trigger, **{**fired, **fields})
        if trigger in TELLS:
            fields.setdefault("session", self.session_of(slot))
        if trigger in (T.GATE_LOST, T.GATE_GAINED):
            fields.setdefault("name", "licence")
        if trigger is T.SYNCED:
            fields.setdefault("final", True)
        return Event(trigger, **fields)

    def __call__(self, trigger, slot="active", **fields):
        """Take an event and return its effects without the snapshots and without who is used."""
        return self.take(self.event(trigger, slot, **fields))

    def take(self, event):
        self.model, effects = step(self.model, event, self.now, self.rng, self.policy)
        self.effects.extend(effects)
        self.snapshots.extend(effect.snapshot for effect in effects if isinstance(effect, Publish))
        return [effect for effect in effects if isinstance(effect, Dial | Close)]

    @property
    def used(self):
        """The session that was last said to speak for the link."""
        return next(effect.session for effect in reversed(self.effects) if isinstance(effect, Use))

    def fire(self, trigger, slot="active", **fields):
        """Move to the deadline of the timer behind a trigger, and let it fire."""
        self.now = max(self.now, self.timer(FIRINGS[trigger], slot).deadline)
        return self(trigger, slot, **fields)

    def candidate(self, *triggers):
        """Have a replacement begun, and let it come as far as these triggers bring it."""
        self(T.ROTATE, text="asked for")
        for trigger in triggers:
            self(trigger, "candidate", seconds=300.0)
