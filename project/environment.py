"""Strict reading of the process environment.

A typing mistake in a variable must not become a default in silence. Each reading method notes what is wrong
and goes on with the default, so that `finish` can name every problem at once, each with the next step.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

YES = frozenset({"true", "yes", "on", "1"})
NO = frozenset({"false", "no", "off", "0"})
FILE_SUFFIX = "_FILE"

T = TypeVar("T")


def read_dotenv(path: Path) -> dict[str, str]:
    """Return what the file at `path` sets; nothing when there is no such file."""

    class DotEnv(environ.Env):
        ENVIRON: dict[str, str] = {}  # read_env writes here: keep it off os.environ

    if path.is_file():
        DotEnv.read_env(path)
    return DotEnv.ENVIRON


class Environment:
    """Reads variables by name and type. The process's own environment wins over the `.env` file.

    An empty value counts as not set, as in a compose file that hands on a variable nobody gave.
    """

    def __init__(self, process: Mapping[str, str], dotenv: Mapping[str, str]) -> None:
        self._dotenv = dotenv
        self._values = {**dotenv, **process}
        self._known: set[str] = set()
        self._problems: list[str] = []

    def text(self, name: str, default: str = "") -> str:
        return self._read(name, default, str)

    def choice(self, name: str, choices: Iterable[str], default: str) -> str:
        allowed = tuple(choices)
        return self._read(name, default, lambda raw: _one_of(raw, allowed))

    def flag(self, name: str, default: bool) -> bool:
        return self._read(name, default, _flag)

    def integer(self, name: str, default: int, *, minimum: int = 0) -> int:
        return self._read(name, default, lambda raw: _at_least(_number(int, raw), minimum))

    def number(self, name: str, default: float, *, minimum: float = 0.0) -> float:
        return self._read(name, float(default), lambda raw: _at_least(_number(float, raw), minimum))

    def words(self, name: str, default: Iterable[str] = ()) -> list[str]:
        """A list separated by commas."""
        return self._read(name, list(default), _words)

    def choices(self, name: str, choices: Iterable[str], default: Iterable[str]) -> list[str]:
        """A list of some of `choices`, in the order given."""
        allowed = tuple(choices)
        return self._read(name, list(default), lambda raw: [_one_of(word, allowed) for word in _words(raw)])

    def url(self, name: str, schemes: Iterable[str], default: str = "") -> str:
        allowed = tuple(schemes)
        return self._read(name, default, lambda raw: _url(raw, allowed))

    def secret_url(self, name: str, schemes: Iterable[str], default: str = "") -> str:
        """An address that may hold a password, so that it is never repeated in an error."""
        address, allowed = self.secret(name), tuple(schemes)
        try:
            return _url(address, allowed) if address else default
        except ValueError as error:
            self._problems.append(f"{name} {error}")
            return default

    def path(self, name: str, default: Path) -> Path:
        return self._read(name, default, _path)

    def optional_path(self, name: str) -> Path | None:
        return self._read(name, None, _path)

    def secret(self, name: str, default: str = "") -> str:
        """A value that may also stand in the file named by `<name>_FILE`, as container secrets do."""
        file_name = name + FILE_SUFFIX
        self._known.add(file_name)
        file = self._values.get(file_name, "")
        if not file:
            return self.text(name, default)
        if self._values.get(name):
            self._problems.append(f"{name} and {file_name} are both set. Keep one of them.")
        try:
            return Path(file).read_text().strip()
        except OSError as error:
            self._problems.append(f"{file_name}={file}: {error.strerror}. Name a file this process may read.")
            return default

    def secrets(self, name: str) -> list[str]:
        """Several secrets, newest first, separated by commas: what rotation needs."""
        return _words(self.secret(name))

    def demand(self, condition: object, problem: str) -> None:
        """Note `problem` (what is wrong, then the next step) unless `condition` holds."""
        if not condition:
            self._problems.append(problem)

    def finish(self) -> None:
        """Raise `ImproperlyConfigured` naming each bad value, and each unknown name in the `.env` file."""
        unknown = sorted(set(self._dotenv) - self._known)
        self._problems += [f"{name} in .env is no setting. See .env.example." for name in unknown]
        if self._problems:
            raise ImproperlyConfigured("The environment is not right:\n  " + "\n  ".join(self._problems))

    def _read(self, name: str, default: T, parse: Callable[[str], T]) -> T:
        self._known.add(name)
        raw = self._values.get(name, "").strip()
        if not raw:
            return default
        try:
            return parse(raw)
        except ValueError as error:
            self._problems.append(f"{name}={json.dumps(raw)} {error}")
            return default


def _flag(raw: str) -> bool:
    word = raw.lower()
    if word not in YES | NO:
        raise ValueError("is neither yes nor no. Write true or false.")
    return word in YES


def _one_of(raw: str, allowed: tuple[str, ...]) -> str:
    if raw not in allowed:
        raise ValueError(f"is not known. Choose from: {', '.join(allowed)}.")
    return raw


def _words(raw: str) -> list[str]:
    return [word.strip() for word in raw.split(",") if word.strip()]


def _path(raw: str) -> Path:
    return Path(raw).expanduser().resolve()


def _number(kind: Callable[[str], T], raw: str) -> T:
    try:
        return kind(raw)
    except ValueError:
        raise ValueError(f"is not a{'n integer' if kind is int else ' number'}.") from None


def _at_least(value: Any, minimum: Any) -> Any:
    if not value >= minimum:  # also refuses NaN
        raise ValueError(f"is too small. Use {minimum} or more.")
    return value


def _url(raw: str, schemes: tuple[str, ...]) -> str:
    parts = urlsplit(raw)
    if parts.scheme not in schemes:
        raise ValueError(f"is not an address this setting takes. Begin it with {' or '.join(schemes)}://.")
    if not (parts.netloc or parts.path):
        raise ValueError("names no host.")
    return raw
