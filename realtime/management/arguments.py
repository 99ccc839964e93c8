"""What arguments of commands mean; a bad one is told as such, with what it has to be."""

from __future__ import annotations

import math
from argparse import ArgumentTypeError

LAST_PORT = 65_535


def port(text: str) -> int:
    """A TCP port, 0 for a free one."""
    if not (text.isascii() and text.isdecimal()) or int(text) > LAST_PORT:
        raise ArgumentTypeError(f"{text!r} is not a port: it is a number up to {LAST_PORT}")
    return int(text)


def place(text: str) -> tuple[str, int]:
    """HOST:PORT."""
    host, _, number = text.rpartition(":")
    if not host:
        raise ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, port(number)


def count(text: str) -> int:
    """A whole number, not negative."""
    if not (text.isascii() and text.isdecimal()):
        raise ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return int(text)


def rate(text: str) -> float:
    """How often a second: finite and not negative."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ArgumentTypeError(f"{text!r} is not a number from 0 on")
    return number
