"""A GraphQL schema as AppSync reads it, and what its documents mean here.

There are no resolvers: a field of the root answers with its ``input`` argument, or with its arguments. A mutation's
result, as far as its own selection goes, is what subscribers get: a field that it did not select is null for them.
https://docs.aws.amazon.com/appsync/latest/devguide/aws-appsync-real-time-data.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from graphql import (
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLObjectType,
    GraphQLResolveInfo,
    GraphQLSchema,
    OperationType,
    SelectionSetNode,
    build_schema,
    execute_sync,
    get_argument_values,
    get_operation_ast,
    parse,
    validate,
    validate_schema,
)

from realtime.emulator.errors import ApiError

# What every AppSync schema may use without declaring it.
PRELUDE = """
scalar AWSDate scalar AWSTime scalar AWSDateTime scalar AWSTimestamp scalar AWSEmail scalar AWSJSON scalar AWSURL
scalar AWSPhone scalar AWSIPAddress
directive @aws_subscribe(mutations: [String!]!) on FIELD_DEFINITION
directive @aws_api_key on FIELD_DEFINITION | OBJECT
directive @aws_iam on FIELD_DEFINITION | OBJECT
directive @aws_oidc on FIELD_DEFINITION | OBJECT
directive @aws_lambda on FIELD_DEFINITION | OBJECT
directive @aws_cognito_user_pools(cognito_groups: [String]) on FIELD_DEFINITION | OBJECT
directive @aws_auth(cognito_groups: [String]) on FIELD_DEFINITION
"""
FLEET_SCHEMA = Path(__file__).with_name("schema.graphql")


class SchemaError(Exception):
    """A schema file cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One subscription's document: the root field, its arguments by the field they filter, and how to answer it."""

    field: str
    arguments: dict[str, Any]
    document: DocumentNode
    variables: dict[str, Any]

    def takes(self, result: Mapping[str, Any]) -> bool:
        """Tell whether a mutation's result passes the arguments; one that was not given lets everything pass."""
        return all(result.get(name) == value for name, value in self.arguments.items())


@dataclass(frozen=True, slots=True)
class Asked:
    """A valid document, and which of its operations is meant."""

    document: DocumentNode
    name: str | None
    operation: OperationType
    variables: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RootCall:
    """One root field of an operation as it was asked for."""

    field: str
    arguments: dict[str, Any]
    selections: SelectionSetNode | None


class Schema:
    """Parses, checks and runs documents against one schema."""

    def __init__(self, path: Path | None = None) -> None:
        path = path or FLEET_SCHEMA
        try:
            self._schema = build_schema(PRELUDE + path.read_text())
            errors = validate_schema(self._schema)
        except (GraphQLError, TypeError) as error:
            raise SchemaError(f"{path}: {error}") from error
        if errors:
            raise SchemaError(f"{path}: {errors[0].message}")
        self._fed_by = _subscriptions_by_mutation(self._schema)

    def fed_by(self, mutation: str) -> tuple[str, ...]:
        """Return the subscription fields that ``@aws_subscribe`` ties to a mutation."""
        return tuple(self._fed_by.get(mutation, ()))

    def want(self, query: object, variables: object, operation_name: object = None) -> Wanted:
        """Return what a ``start`` asks for; raises ApiError if it is no valid subscription to one field."""
        asked = self._asked(query, variables, operation_name)
        if asked.operation is not OperationType.SUBSCRIPTION:
            raise ApiError(None, "Only subscriptions are supported over the realtime channel")
        response, calls = self._execute(asked)
        if not calls:  # the variables do not fit
            raise ApiError(None, response["errors"][0]["message"])
        return Wanted(calls[0].field, calls[0].arguments, asked.document, asked.variables)

    def answer(self, wanted: Wanted, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the payload of a data frame: a mutation's result by the subscription's own selection."""
        return _payload(execute_sync(self._schema, wanted.document, {wanted.field: result}, None, wanted.variables))

    def run(
        self, query: object, variables: object, operation_name: object = None
    ) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
        """Run a query or mutation. Return the response, and each mutation's name with what subscribers get of it."""
        asked = self._asked(query, variables, operation_name)
        if asked.operation is OperationType.SUBSCRIPTION:
            raise ApiError("UnsupportedOperation", "Subscriptions go over the realtime endpoint")
        response, calls = self._execute(asked)
        if asked.operation is OperationType.QUERY or "errors" in response:
            return response, []
        fragments = _fragments(asked.document)
        return response, [(call.field, _project(_echoed(call.arguments), call.selections, fragments)) for call in calls]

    def _asked(self, query: object, variables: object, operation_name: object) -> Asked:
        try:
            document = parse(query if isinstance(query, str) else "")
        except GraphQLError as error:
            raise ApiError(
                "MalformedHttpRequestException", f"Unable to parse GraphQL query: {error.message}"
            ) from error
        if errors := validate(self._schema, document):
            raise ApiError(None, f"Validation error of type ValidationError: {errors[0].message}")
        operation = get_operation_ast(document, operation_name if isinstance(operation_name, str) else None)
        if operation is None:
            raise ApiError("BadRequestException", "Must provide an operation, and its name if there are several.")
        name = operation.name.value if operation.name else None
        return Asked(document, name, operation.operation, variables if isinstance(variables, dict) else {})

    def _execute(self, asked: Asked) -> tuple[dict[str, Any], list[RootCall]]:
        """Run an operation with `_echo`; return the response and the root fields that were asked for."""
        calls: list[RootCall] = []
        result = execute_sync(
            self._schema,
            asked.document,
            context_value=calls,
            variable_values=asked.variables,
            operation_name=asked.name,
            field_resolver=_echo,
        )
        return _payload(result), calls


def _subscriptions_by_mutation(schema: GraphQLSchema) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    root: GraphQLObjectType | None = schema.subscription_type
    directive = schema.get_directive("aws_subscribe")
    assert directive is not None
    for name, field in root.fields.items() if root else ():
        for node in field.ast_node.directives if field.ast_node else ():
            if node.name.value == "aws_subscribe":
                for mutation in get_argument_values(directive, node)["mutations"]:
                    found.setdefault(mutation, []).append(name)
    return found


def _fragments(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    return {d.name.value: d for d in document.definitions if isinstance(d, FragmentDefinitionNode)}


def _fields(selections: SelectionSetNode, fragments: Mapping[str, FragmentDefinitionNode]) -> Iterator[FieldNode]:
    """Yield the fields of a selection, those in fragments too."""
    for selection in selections.selections:
        if isinstance(selection, FieldNode):
            yield selection
        elif isinstance(selection, FragmentSpreadNode):
            yield from _fields(fragments[selection.name.value].selection_set, fragments)
        else:  # an inline fragment
            yield from _fields(selection.selection_set, fragments)  # type: ignore[attr-defined]


def _project(source: Any, selections: SelectionSetNode | None, fragments: Mapping[str, FragmentDefinitionNode]) -> Any:
    """Return what of ``source`` is selected, by the fields' own names: aliases are the mutation caller's affair."""
    if isinstance(source, list):
        return [_project(item, selections, fragments) for item in source]
    if selections is None or not isinstance(source, dict):
        return source
    return {
        field.name.value: _project(source.get(field.name.value), field.selection_set, fragments)
        for field in _fields(selections, fragments)
    }


def _echo(source: Any, info: GraphQLResolveInfo[Any], **arguments: Any) -> Any:
    """Resolve a root field with its arguments, and note it; any other from what it sits in."""
    if info.path.prev is None:
        calls: list[RootCall] = info.context
        calls.append(RootCall(info.field_name, arguments, info.field_nodes[0].selection_set))
        return _echoed(arguments)
    return source.get(info.field_name) if isinstance(source, dict) else None


def _echoed(arguments: dict[str, Any]) -> Any:
    given = arguments.get("input")
    return given if isinstance(given, dict) else arguments


def _payload(result: ExecutionResult) -> dict[str, Any]:
    errors = [{"message": error.message, "path": error.path} for error in result.errors or ()]
    return {"data": result.data, **({"errors": errors} if errors else {})}
