"""What a JSON Schema admits: references are followed, ``allOf`` is merged, alternatives are laid out side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from itertools import chain, product
from operator import and_
from typing import Any
from urllib.parse import unquote

import msgspec


class BadSchema(ValueError):
    """Something that is no JSON Schema; the text says what."""


class Keywords(msgspec.Struct, frozen=True, rename="camel"):
    """What is read of a schema. Keywords that are given together hold together."""

    ref: str | None = msgspec.field(default=None, name="$ref")
    type: str | list[str] = []
    nullable: bool = False
    enum: list[Any] = []
    const: Any = msgspec.UNSET
    properties: dict[str, Schema] = {}
    required: list[str] = []
    items: Schema | None = None
    all_of: list[Schema] = []
    any_of: list[Schema] = []
    one_of: list[Schema] = []


Schema = Keywords | bool


@dataclass(frozen=True, slots=True)
class Shape:
    """One alternative of what schemas admit. ``kinds`` are JSON types, none for any: a number may be an integer.

    ``words`` are its strings, if it has a list of them. Schemas of one property, or of the items, hold together.
    ``lost`` are the references that were not found.
    """

    kinds: frozenset[str] | None = None
    words: tuple[str, ...] = ()
    properties: dict[str, tuple[Schema, ...]] = field(default_factory=dict)
    required: frozenset[str] = frozenset()
    items: tuple[Schema, ...] = ()
    lost: tuple[str, ...] = ()

    def __and__(self, other: Shape) -> Shape:
        names = self.properties | other.properties
        return Shape(
            self.kinds if other.kinds is None else other.kinds if self.kinds is None else self.kinds & other.kinds,
            self.words + other.words,
            {name: self.properties.get(name, ()) + other.properties.get(name, ()) for name in names},
            self.required | other.required,
            self.items + other.items,
            self.lost + other.lost,
        )


ANYTHING = Shape()
NOTHING: frozenset[str] = frozenset()
NULL = Shape(frozenset({"null"}))

KINDS: dict[type, str] = {
    type(None): "null",
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
}


class Document:
    """A JSON Schema or an OpenAPI document, whose schemas may name each other."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document

    def definition(self, names: Iterable[str]) -> Schema | None:
        """Return the schema that the document defines under the first of these names, or none; raises BadSchema."""
        groups = [self._at(path) for path in (["components", "schemas"], ["$defs"], ["definitions"])]
        found = (group[name] for name in names for group in groups if isinstance(group, dict) and name in group)
        raw = next(found, None)
        return None if raw is None else _read(raw)

    def shapes(self, schemas: Sequence[Schema]) -> list[Shape]:
        """Return the alternatives of what is admitted where all of these schemas hold; raises BadSchema."""
        return self._choices(Keywords(all_of=list(schemas)), frozenset())

    def _choices(self, schema: Schema, above: frozenset[str]) -> list[Shape]:
        if isinstance(schema, bool):
            return [ANYTHING]
        together = [[_own(schema)]]
        if schema.ref is not None:
            together.append(self._referred(schema.ref, above))
        together += [self._choices(part, above) for part in schema.all_of]
        for parts in (schema.any_of, schema.one_of):
            if parts:
                together.append(list(chain.from_iterable(self._choices(part, above) for part in parts)))
        choices = [shape for choice in product(*together) if (shape := reduce(and_, choice)).kinds != NOTHING]
        return [*choices, NULL] if schema.nullable else choices

    def _referred(self, reference: str, above: frozenset[str]) -> list[Shape]:
        if reference in above:
            raise BadSchema(f"{reference} refers to itself")
        raw = self._at(reference[2:].split("/")) if reference.startswith("#/") else None
        return [Shape(lost=(reference,))] if raw is None else self._choices(_read(raw), above | {reference})

    def _at(self, path: Sequence[str]) -> Any:
        """Return what is at a JSON pointer, or none."""
        value: Any = self._document
        for step in path:
            value = value.get(unquote(step).replace("~1", "/").replace("~0", "~")) if isinstance(value, dict) else None
        return value


def _read(raw: Any) -> Schema:
    try:
        schema: Schema = msgspec.convert(raw, Schema)
        return schema
    except msgspec.ValidationError as error:
        raise BadSchema(str(error)) from None


def _own(schema: Keywords) -> Shape:
    """Return what a schema says by itself, without those that it names or holds."""
    values = schema.enum if schema.const is msgspec.UNSET else [schema.const]
    kinds = {schema.type} if isinstance(schema.type, str) else set(schema.type)
    kinds = kinds or {KINDS[type(value)] for value in values} or ({"object"} if schema.properties else set())
    if "number" in kinds:
        kinds.add("integer")
    return Shape(
        frozenset(kinds) if kinds else None,
        tuple(value for value in values if isinstance(value, str)),
        {name: (part,) for name, part in schema.properties.items()},
        frozenset(schema.required),
        () if schema.items is None else (schema.items,),
    )
