"""How a field's value reads: one word for each format, the same as in the browser's `format.js`.

``tests/formats.json`` holds the cases that both sides must agree on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from realtime import clock

UNKNOWN = "—"
UPDATING = frozenset({"Downloading", "Installing", "Rebooting"})


@dataclass(frozen=True, slots=True)
class Shown:
    """The heading of a field and the format of its value."""

    label: str
    format: str = "text"


FIELDS = {
    "online": Shown("Presence", "presence"),
    "recording": Shown("Recording", "recording"),
    "fwUpdateState": Shown("Firmware", "firmware"),
    "fwProgress": Shown("Update progress", "progress"),
    "fwVersion": Shown("Firmware version"),
    "name": Shown("Name"),
    "model": Shown("Model"),
    "siteId": Shown("Site"),
    "deviceId": Shown("Device"),
    "state": Shown("State", "words"),
    "progress": Shown("Progress", "progress"),
    "licensePhase": Shown("Licence", "phase"),
    "isFreePlan": Shown("Plan", "plan"),
    "AIControlSetting": Shown("AI settings", "tree"),
    "role": Shown("Role", "words"),
    "tokenRevoked": Shown("Token revoked"),
    "reason": Shown("Reason"),
    "since": Shown("Since", "time"),
    "next_try": Shown("Next try", "time"),
}


def shown(name: str) -> Shown:
    """The heading and format of the field `name`; fields that are not known are shown as they come."""
    return FIELDS.get(name) or Shown(words(name))


def text(value: Any, format: str) -> str:
    """`value` as people read it in `format`; a dash while it is not known."""
    if value is None:
        return UNKNOWN
    return _FORMATS.get(format, _plain)(value)


def words(word: str) -> str:
    """``NoticePeriod`` → ``Notice period``: words we were never told of stay readable."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", word).replace("_", " ").replace("-", " ").strip()
    return spaced[:1].upper() + spaced[1:].lower() if spaced else UNKNOWN


def is_recording(value: Any) -> bool:
    """The upstream says recording as a flag or as a word."""
    return value is True or (isinstance(value, str) and value.casefold() == "recording")


def _presence(value: Any) -> str:
    return "Online" if value is True else "Offline" if value is False else _plain(value)


def _recording(value: Any) -> str:
    return words(value) if isinstance(value, str) else "Recording" if value else "Not recording"


def _progress(value: Any) -> str:
    return f"{round(value)} %" if isinstance(value, int | float) else _plain(value)


def _bool(value: Any) -> str:
    return "Yes" if value else "No"


def _plan(value: Any) -> str:
    return "Free plan" if value else "Paid plan"


def _time(value: Any) -> str:
    return UNKNOWN if not value else f"{clock.from_us(value):%Y-%m-%d %H:%M:%S} UTC"


def _words(value: Any) -> str:
    return words(value) if isinstance(value, str) else _plain(value)


def _tree(value: Any) -> str:
    """One line for a tree of settings; pages that have room show it in full."""
    return f"{len(value)} settings" if isinstance(value, dict | list) else _plain(value)


def _plain(value: Any) -> str:
    return _bool(value) if isinstance(value, bool) else str(value) or UNKNOWN


_FORMATS = {
    "presence": _presence,
    "recording": _recording,
    "firmware": _words,
    "progress": _progress,
    "phase": _words,
    "plan": _plan,
    "bool": _bool,
    "time": _time,
    "words": _words,
    "tree": _tree,
}
