"""Ties a process's life to its parent's, so that a supervisor killed with SIGKILL leaves nothing behind.

Run as a program, `tether.py PARENT PROGRAM [ARGUMENT…]` asks the kernel to kill it when PARENT ends, then
becomes PROGRAM: the wish outlives `exec`, so that a program which knows nothing of us (Valkey) is tied too.
Only Linux has this. Elsewhere our own parts look each second whether their parent is still the same.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

PARENT_VARIABLE = "FLEETLIGHT_PARENT"
WATCH_PERIOD = 1.0
PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>
EXIT_ORPHANED = 1


def command(parent: int, program: list[str]) -> list[str]:
    """Return the command line that runs `program` tied to the process with id `parent`."""
    return [sys.executable, "-I", "-S", __file__, str(parent), *program]


def watch_parent() -> None:
    """End this process soon after its parent has gone, if a supervisor started it."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent:
        threading.Thread(target=_watch, args=(int(parent),), name="parent-watch", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(WATCH_PERIOD)
    os._exit(EXIT_ORPHANED)


def _become(parent: int, program: list[str]) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before we asked
        sys.exit(EXIT_ORPHANED)
    os.execv(program[0], program)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
