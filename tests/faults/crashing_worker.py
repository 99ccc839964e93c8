"""``python -m tests.faults.crashing_worker SEAM OPTION…``: a worker that is killed at one seam, under load.

It is the worker of the product, but for the wrapper around the one step after which it kills itself as a crash does.
"""

import os
import signal
import sys
from itertools import count

from django.core.management import execute_from_command_line

CRASH_AT = 10
"""How often the step is passed before."""


def main(seam, *options):
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    import django

    django.setup()
    SEAMS[seam]()
    execute_from_command_line(["manage.py", "upstream", *options])


def before_commit():
    """State and entries are written, and the transaction is not committed."""
    from realtime import feed

    feed.append = _killing(feed.append, after=True)


def after_commit():
    """The transaction is committed, and the relay has not heard of it."""
    from realtime.bridge import Bridge

    Bridge._committed = _killing(Bridge._committed, after=False)


def in_relay():
    """Entries are in the stream, and nobody was woken."""
    from realtime.relay import Relay

    append_and_wake, passed = Relay._append_and_wake, count(1)

    async def append_and_die(self, runs):
        if next(passed) < CRASH_AT:
            return await append_and_wake(self, runs)
        self._messages = lambda run: iter(())
        await append_and_wake(self, runs)
        os.kill(os.getpid(), signal.SIGKILL)

    Relay._append_and_wake = append_and_die


def before_mark():
    """Everything was relayed, and the table does not know."""
    from realtime.relay import Relay

    Relay._mark = _killing(Relay._mark, after=False)


SEAMS = {function.__name__: function for function in (before_commit, after_commit, in_relay, before_mark)}


def _killing(step, *, after):
    passed = count(1)

    def wrapper(*args, **options):
        crash = next(passed) >= CRASH_AT
        if crash and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = step(*args, **options)
        if crash:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    return wrapper


if __name__ == "__main__":
    main(*sys.argv[1:])
