"""What a backend's schema and what was received have that is not known."""

import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from realtime import drift
from realtime.models import Drift

pytestmark = [pytest.mark.django_db, pytest.mark.feature("S4.10")]


@pytest.fixture
def check(tmp_path):
    def run(document):
        file, out = tmp_path / "theirs.json", io.StringIO()
        file.write_text(json.dumps(document))
        call_command("schema", "check", str(file), "--json", stdout=out)
        return [json.loads(line) for line in out.getvalue().splitlines()]

    return run


def test_what_was_received_and_is_not_known_is_listed_beside_the_schemas_own(check):
    Drift.objects.create(feed="roleChanged", path="$.role", word='"Guest"', count=3, first_at=1, last_at=2, sample="{}")
    theirs = drift.json_schema()
    theirs["$defs"]["PlanChanged"]["properties"]["colour"] = {"type": "string"}
    found = {(row["schema"], row["field"]): row for row in check(theirs)}
    assert found.keys() == {("PlanChanged", "colour"), ("roleChanged", "$.role")}
    assert 'received 3 times "Guest"' in found["roleChanged", "$.role"]["says"]


def test_a_schema_that_would_not_be_read_fails(check):
    theirs = drift.json_schema()
    del theirs["$defs"]["PlanChanged"]["properties"]["isFreePlan"]
    with pytest.raises(CommandError, match="breaks=True"):
        check(theirs)


def test_a_document_that_is_no_schema_is_an_error(check):
    with pytest.raises(CommandError, match=r"theirs.json is not a JSON Schema: .*\$.properties"):
        check({"$defs": {"PlanChanged": {"properties": []}}})
