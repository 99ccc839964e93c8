"""``manage.py dualrun``: which of the two AppSync dialects the links speak, and how both compare."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, fields, replace
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.db.models import QuerySet

from realtime import config, dualrun, switches
from realtime.appsync.exceptions import BadEndpoint
from realtime.clock import now_us
from realtime.comparing import WINDOW
from realtime.management import shown
from realtime.management.arguments import rate
from realtime.management.base import ExampleCommand
from realtime.models import DualRun, Link
from realtime.upstream import endpoints

PROTOCOLS = ("events", "graphql")
COLUMNS = [column.name for column in fields(dualrun.Channel)]


class Command(ExampleCommand):
    help = (
        "Switch all links between Events and GraphQL subscriptions while the site runs: each link's change is a window "
        "in the gap ledger that a snapshot closes, so both sides end with equal state. Or run both on a link, record "
        "one, and compare them channel by channel."
    )
    examples = """\
  manage.py dualrun status
  manage.py dualrun start viewer owner   compare both dialects on two links
  manage.py dualrun start --all --window 10
  manage.py dualrun report viewer
  manage.py dualrun stop --all
  manage.py dualrun switch graphql
  manage.py dualrun switch default       back to what UPSTREAM_PROTOCOL says"""

    def add_arguments(self, parser: CommandParser) -> None:
        commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
        commands.add_parser("status", help="which dialect is wanted, and what the links speak")
        switch = commands.add_parser("switch", help="switch all links")
        switch.add_argument("protocol", choices=(*PROTOCOLS, "default"))
        start = commands.add_parser("start", help="compare both dialects on these links, counting from zero")
        stop = commands.add_parser("stop", help="compare no longer; what was found is kept")
        for chosen in (start, stop):
            chosen.add_argument("links", nargs="*", metavar="LINK", help="a link's id, subject or user name")
            chosen.add_argument("--all", action="store_true", help="all links that there are now")
        start.add_argument(
            "--window", type=rate, default=WINDOW, help=f"seconds that one side waits for the other ({WINDOW:g})"
        )
        report = commands.add_parser("report", help="what was found, channel by channel")
        report.add_argument("links", nargs="*", metavar="LINK", help="only of these links")
        for command in commands.choices.values():
            command.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        getattr(self, f"_{options['command']}")(options)

    def _status(self, options: dict[str, Any]) -> None:
        default = config.load().upstream.protocol
        wanted = switches.get(switches.PROTOCOL, default)
        links = {protocol: Link.objects.filter(protocol=protocol, state="open").count() for protocol in PROTOCOLS}
        runs = DualRun.objects.filter(stopped_at=None).count()
        if options["json"]:
            values = {"wanted": wanted, "default": default, "open_links": links, "dual_runs": runs}
            shown.row(self.stdout, values, as_json=True)
            return
        self.stdout.write(f"wanted: {wanted} (UPSTREAM_PROTOCOL is {default})")
        for protocol, count in links.items():
            self.stdout.write(f"{protocol}: {count} links are open")
        self.stdout.write(f"dual runs: {runs}")

    def _switch(self, options: dict[str, Any]) -> None:
        default = config.load().upstream.protocol
        wanted = default if options["protocol"] == "default" else options["protocol"]
        _demand_configured("not switched", [wanted])
        if options["protocol"] == "default":
            switches.clear(switches.PROTOCOL)
        else:
            switches.put(switches.PROTOCOL, wanted)
        self._status(options)

    def _start(self, options: dict[str, Any]) -> None:
        if not options["window"]:
            raise CommandError("a window of 0 s leaves no time for the other side to tell the same", returncode=2)
        links = list(_chosen(options))
        if not links:
            raise CommandError("there is no link yet: links come with the first sign-in")
        if config.load().upstream.links == "service":
            raise CommandError("not started: a dual run compares links of their own, and UPSTREAM_LINKS is service")
        _demand_configured("not started", PROTOCOLS)
        dualrun.start([link.pk for link in links], options["window"])
        if options["json"]:
            for link in links:
                shown.row(self.stdout, {"link": link.subject, "window": options["window"]}, as_json=True)
            return
        self.stdout.write(
            f"comparing {_named(links)} from now on; changes are counted once the window of {options['window']:g} s is "
            "over. `manage.py dualrun report` shows them"
        )

    def _stop(self, options: dict[str, Any]) -> None:
        stopped = dualrun.stop(link.pk for link in _chosen(options))
        if options["json"]:
            shown.row(self.stdout, {"stopped": stopped}, as_json=True)
        else:
            self.stdout.write(f"{stopped} dual runs stopped")

    def _report(self, options: dict[str, Any]) -> None:
        runs = DualRun.objects.select_related("link__user").order_by("link__subject")
        if options["links"]:
            runs = runs.filter(link__in=[shown.find_link(name) for name in options["links"]])
        now = now_us()
        reports = [dualrun.report(run, now) for run in runs]
        if not reports and not options["json"]:
            raise CommandError("nothing is compared; begin with `manage.py dualrun start LINK`")
        for report in reports:
            if options["json"]:
                shown.row(self.stdout, _whole(report), as_json=True)
            else:
                self._show(report)

    def _show(self, report: dualrun.Report) -> None:
        run = report.run
        self.stdout.write(f"{run.link.subject}: since {shown.time(run.since)}, window {run.window:g} s")
        for role, side in report.sides:
            state = f"{side.state} {side.reason}".strip()
            self.stdout.write(f"  {role:<9}{side.dialect:<8} {'live' if side.live else 'not live'} ({state})")
        rows = [[_cell(getattr(row, name)) for name in COLUMNS] for row in report.channels]
        for line in _aligned([COLUMNS, *rows]):
            self.stdout.write(f"  {line}")
        for difference in report.differences:
            row = _difference(difference)
            self.stdout.write(f"  {row.pop('what')} on {row.pop('on')}:", ending="  ")
            shown.row(self.stdout, row, as_json=False)


def _demand_configured(verdict: str, protocols: Iterable[str]) -> None:
    for protocol in protocols:
        try:
            endpoints.configured(replace(config.load().upstream, protocol=protocol))
        except BadEndpoint as error:
            raise CommandError(f"{verdict}: {error}") from None


def _chosen(options: dict[str, Any]) -> QuerySet[Link] | list[Link]:
    if options["all"] and not options["links"]:
        return Link.objects.order_by("subject")
    if options["all"] or not options["links"]:
        raise CommandError("name one link or more, or say --all", returncode=2)
    return [shown.find_link(name) for name in options["links"]]


def _named(links: list[Link]) -> str:
    return ", ".join(link.subject for link in links) if len(links) <= 5 else f"{len(links)} links"


def _whole(report: dualrun.Report) -> dict[str, Any]:
    run = report.run
    return {
        "link": run.link.subject,
        "since": shown.time(run.since),
        "stopped_at": shown.time(run.stopped_at),
        "window": run.window,
        "recorded": asdict(report.recorded),
        "shadow": asdict(report.shadow),
        "channels": [asdict(row) for row in report.channels],
        "unreadable": report.unreadable,
        "differences": [_difference(difference) for difference in report.differences],
    }


def _difference(difference: dualrun.Difference) -> dict[str, Any]:
    times = {"version": shown.time(difference.version), "received": shown.time(difference.received)}
    return {**asdict(difference), **times}


def _cell(value: object) -> str:
    return "-" if value is None else str(value)


def _aligned(rows: list[list[str]]) -> list[str]:
    """Return the rows as lines of columns, words to the left and numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
