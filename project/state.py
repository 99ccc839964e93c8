"""What a site without settings keeps in its state folder: generated secrets and the place of a socket."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

# A socket's path must fit sockaddr_un.sun_path: 108 bytes on Linux, 104 on macOS, the final zero included.
SOCKET_PATH_LIMIT = 103


def kept_secret(path: Path, make: Callable[[], str]) -> str:
    """Return the secret kept at `path`; the first process that asks makes it.

    Several processes may start at once: each writes its own file and only one can be linked to the name.
    """
    try:
        if not path.exists():
            _make(path, make())
        return path.read_text().strip()
    except OSError as error:
        raise ImproperlyConfigured(
            f"STATE_DIR={path.parent}: {error.strerror}. Name a folder that this process may write to."
        ) from error


def make_private(folder: Path) -> None:
    """Make a folder, if it is not there, that its owner alone may look into: a database holds sign-in sessions."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def _make(path: Path, secret: str) -> None:
    make_private(path.parent)
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # readable by its owner alone
    with open(descriptor, "w") as file:
        file.write(secret)
    try:
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first: its secret is the one
    finally:
        os.unlink(draft)


def socket_path(state_dir: Path) -> Path:
    """Return where the embedded Valkey listens: in the state folder, unless that makes the path too long."""
    path = state_dir / "valkey.sock"
    if len(os.fsencode(path)) <= SOCKET_PATH_LIMIT:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"fleetlight-{os.getuid()}-{digest}.sock"
