"""Strict reading of the process environment.

A typing mistake in a variable must not become a default in silence. Each reading method notes what is wrong
and goes on with the default, so that `finish` can name every problem at once, each with the next step.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

YES = frozenset({"true", "yes", "on", "1"})
NO = frozenset({"false", "no", "off", "0"})
FILE_SUFFIX = "_FILE"
LARGEST = 1_000_000_000
"""No setting needs more, and sums of times and databases' integers still hold it."""
LAST_PORT = 65_535
PATHS = ("sqlite", "unix")
"""Schemes whose addresses name a place in the file system instead of a host."""
LOGIN = re.compile(r"\s*\w+://[^/?#]*@")
PORT = re.compile(r":([^:,\]]*)(?=,|$)")
HOST = re.compile(r"\*|\.?[\w-]+(\.[\w-]+)*\.?|\[[0-9a-fA-F:.]+\]")

T = TypeVar("T")
N = TypeVar("N", int, float)


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
        return self._read(name, default, lambda raw: _within(_number(int, raw), minimum, LARGEST))

    def number(self, name: str, default: float, *, minimum: float = 0.0) -> float:
        return self._read(name, float(default), lambda raw: _within(_number(float, raw), minimum, LARGEST))

    def optional_number(self, name: str, *, minimum: float = 0.0) -> float | None:
        """A number that has no default here, because something else (a preset) has one."""
        return self._read(name, None, lambda raw: _within(_number(float, raw), minimum, LARGEST))

    def optional_integer(self, name: str, *, minimum: int = 0) -> int | None:
        """As `optional_number`, and whole."""
        return self._read(name, None, lambda raw: _within(_number(int, raw), minimum, LARGEST))

    def words(self, name: str, default: Iterable[str] = ()) -> list[str]:
        """A list separated by commas."""
        return self._read(name, list(default), _words)

    def choices(self, name: str, choices: Iterable[str], default: Iterable[str]) -> list[str]:
        """A list of some of `choices`, in the order given; at least one, and none twice."""
        allowed = tuple(choices)
        return self._read(name, list(default), lambda raw: _some_of(_words(raw), allowed))

    def hosts(self, name: str, default: Iterable[str] = ()) -> list[str]:
        """A list of host names, each without scheme, port and path."""
        return self._read(name, list(default), lambda raw: [_host(word) for word in _words(raw)])

    def url(self, name: str, schemes: Iterable[str], default: str = "") -> str:
        """An address, which may be shown to anybody: what holds a password is refused, and not repeated."""
        allowed = tuple(schemes)
        if LOGIN.match(self._values.get(name, "")):
            self._known.add(name)
            self._problems.append(f"{name} holds a login. Leave user and password out of it.")
            return default
        return self._read(name, default, lambda raw: _url(raw, allowed))

    def secret_url(self, name: str, schemes: Iterable[str], default: str, check: Callable[[str], object] = str) -> str:
        """An address that may hold a password, so that it is never repeated in an error.

        `check` gets it too, and raises a `ValueError` that does not repeat it either.
        """
        address, allowed = self.secret(name) or default, tuple(schemes)
        try:
            check(_url(address, allowed))
            return address
        except ValueError as error:
            self._problems.append(f"{name} {error}")
            return default

    def path(self, name: str, default: Path) -> Path:
        return self._read(name, default, _path)

    def file(self, name: str) -> Path | None:
        """A file that this process can read, if one is named."""
        return self._read(name, None, _file)

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


def _some_of(words: list[str], allowed: tuple[str, ...]) -> list[str]:
    chosen = [_one_of(word, allowed) for word in words]
    if not chosen or len(set(chosen)) < len(chosen):
        raise ValueError(f"names none, or one twice. Choose from: {', '.join(allowed)}.")
    return chosen


def _host(word: str) -> str:
    if not HOST.fullmatch(word):
        raise ValueError("is no list of host names. Write them without scheme, port and path: a.example,b.example")
    return word


def _words(raw: str) -> list[str]:
    return [word.strip() for word in raw.split(",") if word.strip()]


def _path(raw: str) -> Path:
    return Path(raw).expanduser().resolve()


def _file(raw: str) -> Path:
    path = _path(raw)
    if not (path.is_file() and os.access(path, os.R_OK)):
        raise ValueError("is no file that this process may read.")
    return path


def _number(kind: Callable[[str], T], raw: str) -> T:
    try:
        return kind(raw)
    except ValueError:
        raise ValueError(f"is not a{'n integer' if kind is int else ' number'}.") from None


def _within(value: N, minimum: N, maximum: N) -> N:
    if value > maximum:
        raise ValueError(f"is too large. Use {maximum} or less.")
    if not value >= minimum:  # also refuses NaN
        raise ValueError(f"is too small. Use {minimum:g} or more.")
    return value


def _url(raw: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(raw)
    except ValueError:
        raise ValueError(f"is no address. Write it as {schemes[0]}://host/path.") from None
    if parts.scheme not in schemes:
        starts = " or ".join(f"{scheme}://" for scheme in schemes)
        raise ValueError(f"is not an address this setting takes. Begin it with {starts}.")
    if not (parts.path.strip("/") if parts.scheme in PATHS else parts.hostname):
        raise ValueError(f"names no {'path' if parts.scheme in PATHS else 'host'}.")
    if not all(_is_port(port) for port in PORT.findall(parts.netloc.rpartition("@")[2])):
        raise ValueError(f"has a port that is none. It is a number up to {LAST_PORT}.")
    return raw


def _is_port(text: str) -> bool:
    return text.isdecimal() and int(text) <= LAST_PORT
