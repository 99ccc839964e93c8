"""What documents mean against a schema."""

import pytest

from realtime.emulator.errors import ApiError
from realtime.emulator.graphql_schema import Schema, SchemaError

CUSTOM = """
type Note { id: ID! text: String at: AWSDateTime author: Author tags: [Tag] }
type Author { name: String! mail: AWSEmail }
type Tag { word: String }
input NoteInput { id: ID! text: String author: AuthorInput tags: [TagInput] }
input AuthorInput { name: String! mail: AWSEmail }
input TagInput { word: String }
type Query { note(id: ID!): Note @aws_api_key }
type Mutation { addNote(input: NoteInput!): Note  editNote(id: ID!, text: String): Note  other: Note }
type Subscription {
  onNote(id: ID, text: String): Note @aws_subscribe(mutations: ["addNote", "editNote"])
  onEdit: Note @aws_subscribe(mutations: ["editNote"])
}
"""


@pytest.fixture
def schema(tmp_path):
    path = tmp_path / "schema.graphql"
    path.write_text(CUSTOM)
    return Schema(path)


def published(schema, mutation, variables=None):
    return schema.run(mutation, variables)[1]


def test_a_mutation_answers_with_its_input_or_its_arguments(schema):
    response, _ = schema.run('mutation { addNote(input: {id: "1", text: "a"}) { id words: text } }', None)
    assert response == {"data": {"addNote": {"id": "1", "words": "a"}}}
    response, _ = schema.run("mutation M($t: String) { editNote(id: 2, text: $t) { id text at } }", {"t": "b"})
    assert response == {"data": {"editNote": {"id": "2", "text": "b", "at": None}}}


def test_subscribers_get_what_the_mutation_selected_by_the_fields_own_names(schema):
    document = """mutation {
      a: addNote(input: {id: "1", text: "t", author: {name: "n", mail: "m"}, tags: [{word: "w"}]}) {
        id ...rest ... on Note { tags { word } } } }
      fragment rest on Note { author { called: name } }"""
    assert published(schema, document) == [("addNote", {"id": "1", "author": {"name": "n"}, "tags": [{"word": "w"}]})]


def test_mutations_feed_the_subscriptions_that_name_them(schema):
    assert schema.fed_by("addNote") == ("onNote",)
    assert schema.fed_by("editNote") == ("onNote", "onEdit")
    assert schema.fed_by("other") == ()


def test_a_field_that_the_mutation_did_not_select_is_null_for_subscribers(schema):
    wanted = schema.want("subscription { onNote { id text } }", None)
    ((_, result),) = published(schema, 'mutation { addNote(input: {id: "1", text: "a"}) { id } }')
    assert schema.answer(wanted, result) == {"data": {"onNote": {"id": "1", "text": None}}}


def test_a_required_field_that_is_missing_is_an_error_beside_the_data(schema):
    wanted = schema.want("subscription { onNote { id text } }", None)
    payload = schema.answer(wanted, {"text": "a"})
    assert payload["data"] == {"onNote": None}
    assert "non-nullable" in payload["errors"][0]["message"]


@pytest.mark.parametrize(
    ("document", "variables", "takes"),
    [
        ("subscription { onNote { id } }", None, True),
        ('subscription { onNote(id: "1") { id } }', None, True),
        ('subscription { onNote(id: "2") { id } }', None, False),
        ("subscription S($i: ID) { onNote(id: $i) { id } }", {"i": "1"}, True),
        ("subscription S($i: ID) { onNote(id: $i) { id } }", {"i": "2"}, False),
        ("subscription S($i: ID) { onNote(id: $i) { id } }", {}, True),
        ('subscription { onNote(text: "a") { id } }', None, False),
    ],
)
def test_arguments_filter_by_what_the_mutation_selected(schema, document, variables, takes):
    assert schema.want(document, variables).takes({"id": "1"}) is takes


@pytest.mark.parametrize(
    ("document", "variables", "message"),
    [
        (None, None, "parse"),
        ("subscription {", None, "parse"),
        ("subscription { onNote { nothing } }", None, "Validation error of type"),
        ("subscription { nothing }", None, "Validation error of type"),
        ("subscription S($i: ID!) { onNote(id: $i) { id } }", {}, "i"),
        ("{ note(id: 1) { id } }", None, "Only subscriptions"),
        ("subscription A { onEdit { id } } subscription B { onEdit { id } }", None, "several"),
    ],
)
def test_what_is_no_subscription_is_refused_in_words(schema, document, variables, message):
    with pytest.raises(ApiError, match=message):
        schema.want(document, variables)


def test_one_of_several_operations_is_chosen_by_name(schema):
    document = "subscription A { onEdit { id } } subscription B { onNote { id } }"
    wanted = schema.want(document, None, "B")
    assert wanted.field == "onNote"


def test_a_query_answers_and_publishes_nothing(schema):
    response, results = schema.run("{ note(id: 1) { id text } }", None)
    assert (response, results) == ({"data": {"note": {"id": "1", "text": None}}}, [])


def test_a_subscription_is_refused_over_http(schema):
    with pytest.raises(ApiError, match="realtime"):
        schema.run("subscription { onEdit { id } }", None)


def test_a_mutation_that_fails_publishes_nothing(schema):
    response, results = schema.run("mutation M($i: ID!) { editNote(id: $i) { id } }", {})
    assert response["errors"]
    assert results == []


@pytest.mark.parametrize("text", ["type {", "type Query { a: Nothing }", "type Mutation { a: Int }"])
def test_a_schema_that_cannot_be_used_is_refused_with_its_name(tmp_path, text):
    path = tmp_path / "broken.graphql"
    path.write_text(text)
    with pytest.raises(SchemaError, match=r"broken\.graphql"):
        Schema(path)
