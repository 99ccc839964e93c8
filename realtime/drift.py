"""The schemas of what comes from upstream, and how a backend's own differ from them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from realtime.feeds import BY_NAME, FEEDS
from realtime.shapes import Document, Schema, Shape
from realtime.snapshot import Snapshot

REFERENCE = "#/$defs/{name}"

SNAPSHOT = Snapshot.__name__

NAMES = {feed.event.__name__: (feed.event.__name__, feed.event_type, feed.name) for feed in FEEDS} | {
    SNAPSHOT: (SNAPSHOT,)
}
"""What a backend may call each of our schemas."""

SNAPSHOT_WORDS = {
    f"{rows}[].{field}": words
    for rows, feed in (
        ("organizations", "organization/licensePhaseChanged"),
        ("organizations", "roleChanged"),
        ("devices", "device/firmwareUpdated"),
        ("archives", "archive/stateChanged"),
    )
    for field, words in BY_NAME[feed].words.items()
}

WORDS: dict[str, Mapping[str, Sequence[str]]] = {
    **{feed.event.__name__: feed.words for feed in FEEDS},
    SNAPSHOT: SNAPSHOT_WORDS,
}
"""The words that are known in each schema's fields."""


class Finding(msgspec.Struct, frozen=True):
    """One difference: where, what, and whether payloads of theirs would not be read."""

    schema: str
    field: str
    says: str
    breaks: bool


def json_schema() -> dict[str, Any]:
    """Return one JSON Schema document that defines the nine payloads and a page of the snapshot."""
    _, definitions = msgspec.json.schema_components([*(feed.event for feed in FEEDS), Snapshot], ref_template=REFERENCE)
    page = definitions[SNAPSHOT]["properties"]
    del page["asked"]  # who asks says that, not who answers
    page["next"] = {"type": ["string", "null"], "default": None}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": definitions}


def asyncapi(root: str) -> dict[str, Any]:
    """Return an AsyncAPI document of the nine channels below ``/{root}/user/{userId}``."""
    channels = {
        feed.name: {
            "address": f"/{root}/user/{{userId}}/{feed.name}",
            "parameters": {"userId": {"description": "the user's upstream subject"}},
            "messages": {feed.event.__name__: {"payload": {"$ref": f"#/$defs/{feed.event.__name__}"}}},
        }
        for feed in FEEDS
    }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Fleetlight upstream", "version": "1"},
        "channels": channels,
        "$defs": json_schema()["$defs"],
    }


def compare(theirs: dict[str, Any]) -> list[Finding]:
    """Return how a backend's schemas of the same names differ; an OpenAPI document keeps them in its components.

    Raises BadSchema.
    """
    our_document, their_document = Document(json_schema()), Document(theirs)
    findings: list[Finding] = []
    for name, aliases in NAMES.items():
        ours, found = our_document.definition([name]), their_document.definition(aliases)
        if ours is None or found is None:
            findings.append(Finding(name, "", f"not found; looked for {' and '.join(aliases)}", False))
        else:
            comparison = _Comparison(name, our_document, their_document)
            findings += dict.fromkeys(comparison.values("", [ours], [found]))  # alternatives may differ alike
    return findings


class _Comparison:
    """Goes through one of our schemas and what a backend has in its place."""

    def __init__(self, name: str, ours: Document, theirs: Document) -> None:
        self._name = name
        self._ours = ours
        self._theirs = theirs

    def values(self, field: str, ours: Sequence[Schema], theirs: Sequence[Schema]) -> Iterator[Finding]:
        """Give how what a field, the whole without a name, may hold differs."""
        wanted, given = self._ours.shapes(ours), self._theirs.shapes(theirs)
        kinds, readable = _kinds(given), _kinds(wanted)
        if readable and not kinds <= readable:
            yield self._finding(field, f"is {_listed(kinds)}, read as {_listed(readable)}", breaks=True)
        for reference in sorted({reference for shape in given for reference in shape.lost}):
            yield self._finding(field, f"is {reference}, which is not in this document: not compared")
        if words := WORDS[self._name].get(field):
            for word in sorted({word for shape in given for word in shape.words} - {*words}):
                yield self._finding(field, f"may be {word!r}, which is not known here: kept and shown")
        for mine in wanted:
            for other in given:
                if mine.properties and other.properties:
                    yield from self._fields(f"{field}." if field else "", mine, other)
                if mine.items and other.items:
                    yield from self.values(f"{field}[]", mine.items, other.items)

    def _fields(self, prefix: str, ours: Shape, theirs: Shape) -> Iterator[Finding]:
        for field, schemas in ours.properties.items():
            if field in theirs.properties:
                yield from self.values(prefix + field, schemas, theirs.properties[field])
                if field in ours.required - theirs.required:
                    yield self._finding(prefix + field, "is needed, and optional there")
            elif field in ours.required and not theirs.lost:
                yield self._finding(prefix + field, "is needed and missing", breaks=True)
        for field in sorted(theirs.properties.keys() - ours.properties.keys()):
            yield self._finding(prefix + field, "is not known here: ignored")

    def _finding(self, field: str, says: str, *, breaks: bool = False) -> Finding:
        return Finding(self._name, field, says, breaks)


def _kinds(shapes: Sequence[Shape]) -> set[str]:
    """Return the JSON types that are admitted; an empty set if one of the alternatives may be anything."""
    kinds = [shape.kinds for shape in shapes]
    return set() if None in kinds else {kind for some in kinds if some for kind in some}


def _listed(kinds: set[str]) -> str:
    return "/".join(sorted(kinds))
