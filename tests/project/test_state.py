"""What a site without settings keeps for itself."""

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from project.state import SOCKET_PATH_LIMIT, kept_secret, socket_path


def test_a_secret_is_made_once_and_kept(tmp_path):
    made = iter("ab")
    path = tmp_path / "deep" / "key"
    assert kept_secret(path, lambda: next(made)) == "a"
    assert kept_secret(path, lambda: next(made)) == "a"


def test_a_secret_is_for_its_owner_alone(tmp_path):
    kept_secret(tmp_path / "key", lambda: "s")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


def test_nobody_else_looks_into_a_folder_that_was_made(tmp_path):
    kept_secret(tmp_path / "state" / "key", lambda: "s3cret")
    assert (tmp_path / "state").stat().st_mode & 0o077 == 0


def test_processes_that_start_together_agree_on_one_secret(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        secrets = pool.map(lambda n: kept_secret(tmp_path / "key", lambda: str(n)), range(8))
    assert len(set(secrets)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_folder_that_cannot_be_used_is_named_with_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ImproperlyConfigured, match=r"STATE_DIR=.*file.*Name a folder"):
        kept_secret(tmp_path / "file" / "key", lambda: "s")


def test_the_socket_is_in_the_state_folder(tmp_path):
    assert socket_path(Path("/srv/fleetlight")) == Path("/srv/fleetlight/valkey.sock")


def test_a_deep_folder_does_not_make_the_socket_path_too_long():
    folders = [Path("/", "x" * 120, name) for name in "ab"]
    sockets = [socket_path(folder) for folder in folders]
    assert all(len(str(socket)) <= SOCKET_PATH_LIMIT for socket in sockets)
    assert sockets[0] != sockets[1]
