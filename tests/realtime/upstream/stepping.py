"""A hand on the pure core: a model that events are given to, one after the other, and what they led to."""

from random import Random

from realtime.upstream.model import Close, Dial, Event, Model, Publish, TimerKind
from realtime.upstream.policy import Policy
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
    State.FAILED: (T.START, T.CONNECT_TIMEOUT),
}
"""The shortest way into each state; into ``failed`` with a policy that allows no second try."""

GIVES_UP = Policy(max_attempts=0)
TELLS = {T.TRANSPORT_UP, T.ACCEPTED, T.SYNCED, T.DROPPED, T.AUTH_REJECTED, T.TOKEN_FAILED, T.HEARD}
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
        stepping = cls(GIVES_UP if state is State.FAILED else policy)
        for trigger in PATHS[state]:
            stepping(trigger)
        assert stepping.state is state
        return stepping

    @property
    def state(self):
        return self.model.state

    @property
    def session(self):
        return self.model.active.id if self.model.active else None

    def timer(self, kind):
        """Return the armed timer of this kind, or none."""
        return next((timer for timer in self.model.timers if timer.kind is kind), None)

    def event(self, trigger, **fields):
        """Return the event as the shell would post it now: of the live session, or of the armed timer."""
        if trigger in FIRINGS:
            timer = self.timer(FIRINGS[trigger])
            fired = {"session": timer.session or None, "token": timer.token} if timer else {"token": -1}
            return Event(trigger, **{**fired, **fields})
        if trigger in TELLS:
            fields.setdefault("session", self.session)
        if trigger in (T.GATE_LOST, T.GATE_GAINED):
            fields.setdefault("name", "licence")
        if trigger is T.SYNCED:
            fields.setdefault("final", True)
        return Event(trigger, **fields)

    def __call__(self, trigger, **fields):
        """Take an event and return its effects without the snapshots."""
        return self.take(self.event(trigger, **fields))

    def take(self, event):
        self.model, effects = step(self.model, event, self.now, self.rng, self.policy)
        self.effects.extend(effects)
        self.snapshots.extend(effect.snapshot for effect in effects if isinstance(effect, Publish))
        return [effect for effect in effects if isinstance(effect, Dial | Close)]

    def fire(self, trigger, **fields):
        """Move to the deadline of the timer behind a trigger, and let it fire."""
        self.now = max(self.now, self.timer(FIRINGS[trigger]).deadline)
        return self(trigger, **fields)
