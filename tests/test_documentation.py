"""What the documents say of the files beside them, and of the commands."""

import re
from pathlib import Path

import pytest
from django.core.management import get_commands

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)")


@pytest.mark.feature("S1.18")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    targets = LINK.findall(document.read_text())
    assert not [target for target in targets if not (document.parent / target).exists()]


def test_every_document_can_be_found_from_the_first_page():
    listed = {(ROOT / "docs" / target).resolve() for target in LINK.findall((ROOT / "docs/README.md").read_text())}
    assert set((ROOT / "docs").glob("*/*.md")) - listed == set()


def test_every_command_is_in_the_reference():
    reference = (ROOT / "docs/reference/commands.md").read_text()
    named = set(re.findall(r"^\| `([\w-]+)", reference, re.M))
    assert named == {name for name, app in get_commands().items() if app in ("realtime", "dashboard")}
