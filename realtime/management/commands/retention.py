"""`manage.py retention`: the hourly round of a worker, now."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from django.core.management import call_command
from django.core.management.base import CommandParser

from realtime import config, credentials, product
from realtime.clock import now_us
from realtime.management.base import ExampleCommand
from realtime.retention import delete_batch


class Command(ExampleCommand):
    help = (
        "Deletes feed entries, timelines and diagnostics that are older than their limit (RETENTION_…), and "
        "sign-in sessions that have ended; seals with the newest TOKEN_KEY the tokens that an older one sealed. "
        "Workers do all but the sessions each hour."
    )
    examples = """\
  manage.py retention
  manage.py retention --json"""

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="one JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        limits, timeline = config.load().retention, product.load().timeline
        deleted: Counter[str] = Counter()
        while batch := delete_batch(limits, timeline, now_us()):
            deleted.update(batch)
            self.stderr.write(f"{deleted.total()} deleted so far")
        call_command("clearsessions")
        resealed = credentials.reseal()
        if options["json"]:
            self.stdout.write(json.dumps({**deleted, "tokens sealed anew": resealed}))
            return
        for what, count in deleted.items():
            self.stdout.write(f"{count} {what}")
        if resealed:
            self.stdout.write(f"{resealed} users' tokens sealed with the newest TOKEN_KEY")
        self.stdout.write("done")
