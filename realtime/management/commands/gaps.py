"""``manage.py gaps``: the ledger of windows in which a subscription was not provably live."""

from __future__ import annotations

from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from realtime import control
from realtime.management import shown
from realtime.management.arguments import count
from realtime.management.base import ExampleCommand
from realtime.models import Gap


class Command(ExampleCommand):
    help = "Show the gap ledger, or have a link compared with a new snapshot."
    examples = """\
  manage.py gaps list --outcome open
  manage.py gaps list --link viewer --limit 20 --json
  manage.py gaps show 42
  manage.py gaps repair viewer"""

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        listing = commands.add_parser("list", help="a line each, the newest first")
        listing.add_argument("--link", help="only of this link: its id, subject or user name")
        listing.add_argument("--outcome", choices=Gap.Outcome.values)
        listing.add_argument("--feed", help="only of this feed; 'all' for those of whole links")
        listing.add_argument("--limit", type=count, default=50)
        listing.add_argument("--offset", type=count, default=0)
        show = commands.add_parser("show", help="one window")
        show.add_argument("gap", type=int, metavar="ID")
        repair = commands.add_parser("repair", help="compare a link's recorded state with a new snapshot")
        repair.add_argument("link", metavar="LINK")
        for command in commands.choices.values():
            command.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['command']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        windows = _matching(options)
        page = windows[options["offset"] : options["offset"] + options["limit"]]
        for window in page:
            shown.row(self.stdout, _row(window), as_json=options["json"])
        if not options["json"]:
            self.stdout.write(f"{len(page)} of {windows.count()} windows")

    def _show(self, options: dict[str, Any]) -> None:
        window = Gap.objects.filter(pk=options["gap"]).select_related("link").first()
        if window is None:
            raise CommandError(f"no window has the id {options['gap']}; see `manage.py gaps list`")
        shown.row(self.stdout, _row(window), as_json=options["json"])

    def _repair(self, options: dict[str, Any]) -> None:
        link = shown.find_link(options["link"])
        try:
            link = control.wait_applied(link.pk, control.wish(link.pk, "repair"))
        except (control.NotNow, control.NotApplied) as error:
            raise CommandError(str(error)) from None
        if link.state != "open":
            raise CommandError(f"the link is {link.state} ({link.reason}): it is compared as soon as it is open again")
        if options["json"]:
            shown.row(self.stdout, {"link": link.subject, "asked": "repair"}, as_json=True)
        else:
            self.stdout.write("comparing; `manage.py gaps list` shows what comes of it")


def _row(window: Gap) -> dict[str, Any]:
    gap = shown.gap(window)
    return {"id": gap.pop("id"), "link": window.link.subject, **gap}


def _matching(options: dict[str, Any]) -> QuerySet[Gap]:
    windows = Gap.objects.select_related("link").order_by("-started_at", "-pk")
    if options["link"]:
        windows = windows.filter(link=shown.find_link(options["link"]))
    if options["outcome"]:
        windows = windows.filter(outcome=options["outcome"])
    if options["feed"]:
        windows = windows.filter(feed="" if options["feed"] == "all" else options["feed"])
    return windows
