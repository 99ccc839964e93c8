"""``manage.py schema``: what payloads must look like, for others to check theirs against, and theirs against ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from django.core.management.base import CommandError, CommandParser
from django.db import DatabaseError

from realtime import config, drift
from realtime.management import shown
from realtime.management.base import ExampleCommand
from realtime.models import Drift
from realtime.shapes import BadSchema


class Command(ExampleCommand):
    help = (
        "Export the schemas of upstream payloads and snapshot, or check a backend's schema against them and tell what "
        "was received that is not known."
    )
    examples = """\
  manage.py schema export > payloads.schema.json
  manage.py schema export --format asyncapi
  manage.py schema check backend-openapi.json"""

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        export = commands.add_parser("export", help="write the schemas as JSON")
        export.add_argument("--format", choices=("json-schema", "asyncapi"), default="json-schema")
        check = commands.add_parser("check", help="compare with an OpenAPI document or a JSON Schema")
        check.add_argument("file", type=Path, metavar="FILE", help="JSON")
        check.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["command"] == "export":
            root = config.load().upstream.channel_root
            document = drift.asyncapi(root) if options["format"] == "asyncapi" else drift.json_schema()
            self.stdout.write(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())
        else:
            self._check(options["file"], options["json"])

    def _check(self, file: Path, as_json: bool) -> None:
        try:
            theirs = msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
        except OSError as error:
            raise CommandError(f"{file}: {error.strerror}") from None
        except msgspec.DecodeError as error:
            raise CommandError(f"{file} is not a JSON document: {error}") from None
        try:
            findings = drift.compare(theirs) + self._received()
        except BadSchema as error:
            raise CommandError(f"{file} is not a JSON Schema: {error}") from None
        for finding in findings:
            shown.row(self.stdout, msgspec.structs.asdict(finding), as_json=as_json)
        if any(finding.breaks for finding in findings):
            raise CommandError("the backend's payloads would not be read: see the lines with breaks=True")
        if not as_json:
            self.stdout.write("nothing that would break")

    def _received(self) -> list[drift.Finding]:
        """Return what payloads held that is not known here; nothing where there is no database to ask."""
        try:
            rows = list(Drift.objects.order_by("feed", "path", "word"))
        except DatabaseError:
            return []
        return [
            drift.Finding(row.feed, row.path, f"not known here, received {row.count} times {row.word}".strip(), False)
            for row in rows
        ]
