"""The schemas of what comes from upstream, and how a backend's own differ from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from realtime.feeds import FEEDS
from realtime.snapshot import Snapshot

Schema = dict[str, Any]

REFERENCE = "#/$defs/{name}"


class Finding(msgspec.Struct, frozen=True):
    """One difference: where, what, and whether payloads of theirs would not be read."""

    schema: str
    field: str
    says: str
    breaks: bool


def json_schema() -> Schema:
    """Return one JSON Schema document that defines the nine payloads and the snapshot."""
    _, definitions = msgspec.json.schema_components([*(feed.event for feed in FEEDS), Snapshot], ref_template=REFERENCE)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": definitions}


def asyncapi(root: str) -> Schema:
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


def compare(theirs: Schema) -> list[Finding]:
    """Return how a backend's schemas of the same names differ; an OpenAPI document keeps them in its components."""
    their_definitions = _definitions(theirs)
    ours = json_schema()["$defs"]
    findings = []
    for feed in FEEDS:
        name = feed.event.__name__
        their_schema = next(
            (their_definitions[n] for n in (name, feed.event_type, feed.name) if n in their_definitions), None
        )
        if their_schema is None:
            findings.append(
                Finding(name, "", f"not found; looked for {name}, {feed.event_type} and {feed.name}", False)
            )
        else:
            findings += _fields(name, ours[name], their_schema)
    return findings


def _definitions(document: Schema) -> dict[str, Schema]:
    found: dict[str, Schema] = {}
    for part in (document.get("components", {}).get("schemas"), document.get("$defs"), document.get("definitions")):
        found |= part or {}
    return found


def _fields(name: str, ours: Schema, theirs: Schema) -> Iterator[Finding]:
    have, required = theirs.get("properties", {}), set(ours.get("required", []))
    for field, schema in ours["properties"].items():
        if field not in have:
            if field in required:
                yield Finding(name, field, "is needed and missing", True)
            continue
        wanted, given = _types(schema), _types(have[field])
        if wanted and given and not given <= _accepted(wanted):
            yield Finding(name, field, f"is {'/'.join(sorted(given))}, read as {'/'.join(sorted(wanted))}", True)
        if field in required and field not in theirs.get("required", []):
            yield Finding(name, field, "is needed, and optional there", False)
    for field in have.keys() - ours["properties"].keys():
        yield Finding(name, field, "is not known here: ignored", False)


def _types(schema: Schema) -> set[str]:
    """Return the JSON types a schema admits; none when it leaves that to a reference."""
    if "anyOf" in schema or "oneOf" in schema:
        parts = schema.get("anyOf") or schema.get("oneOf") or []
        return {kind for part in parts for kind in _types(part)}
    kind = schema.get("type")
    return set() if kind is None else {kind} if isinstance(kind, str) else set(kind)


def _accepted(wanted: set[str]) -> set[str]:
    return wanted | ({"integer"} if "number" in wanted else set())
