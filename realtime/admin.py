"""The engine's records for operators: looked at, never edited by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from realtime import clock
from realtime.models import (
    BUCKETS,
    WORKER_SILENT_AFTER,
    Drift,
    Gap,
    Lease,
    Link,
    Switch,
    Topic,
    UndecodablePayload,
    Worker,
)

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin[Any]
else:
    ModelAdmin = admin.ModelAdmin


def moment(us: int | None) -> SafeString | str:
    """Return a time for a table; the browser puts it into the viewer's zone."""
    if not us:
        return "—"
    at = clock.from_us(us).isoformat()
    return format_html('<time datetime="{}" data-value="{}">{}</time>', at, us, clock.brief(us))


class Record(ModelAdmin):
    """A record that only the engine writes."""

    list_per_page = 50
    show_full_result_count = False
    list_select_related = True

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        title = {"title": str(self.opts.verbose_name_plural).capitalize()}
        return super().changelist_view(request, title | (extra_context or {}))

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(UndecodablePayload)
class UndecodablePayloadAdmin(Record):
    list_display = ("when", "feed", "link", "path", "error")
    list_filter = ("feed",)
    search_fields = ("error", "payload", "link__subject")
    ordering = ("-at",)

    @admin.display(description="at", ordering="at")
    def when(self, row: UndecodablePayload) -> SafeString | str:
        return moment(row.at)


@admin.register(Drift)
class DriftAdmin(Record):
    list_display = ("kind", "word", "count", "last", "first")
    list_filter = ("feed",)
    search_fields = ("path", "word", "sample")
    ordering = ("-last_at",)

    @admin.display(description="field", ordering="feed")
    def kind(self, row: Drift) -> str:
        return f"{row.feed} {row.path}"

    @admin.display(description="last seen", ordering="last_at")
    def last(self, row: Drift) -> SafeString | str:
        return moment(row.last_at)

    @admin.display(description="first seen", ordering="first_at")
    def first(self, row: Drift) -> SafeString | str:
        return moment(row.first_at)


@admin.register(Gap)
class GapAdmin(Record):
    list_display = ("link", "which", "cause", "began", "live_again", "closed", "result", "differences", "note")
    list_filter = ("outcome", "cause")
    search_fields = ("link__subject", "link__user__username", "cause")
    ordering = ("-started_at",)

    @admin.display(description="feed", ordering="feed")
    def which(self, row: Gap) -> str:
        return row.feed or "all"

    @admin.display(description="began", ordering="started_at")
    def began(self, row: Gap) -> SafeString | str:
        return moment(row.started_at)

    @admin.display(description="live again", ordering="live_at")
    def live_again(self, row: Gap) -> SafeString | str:
        return moment(row.live_at)

    @admin.display(description="closed", ordering="closed_at")
    def closed(self, row: Gap) -> SafeString | str:
        return moment(row.closed_at)

    @admin.display(description="outcome", ordering="outcome")
    def result(self, row: Gap) -> SafeString:
        return format_html('<span data-outcome="{}">{}</span>', row.outcome, row.get_outcome_display())


@admin.register(Worker)
class WorkerAdmin(Record):
    list_display = ("name", "shown_state", "buckets", "links", "service", "started", "last_beat", "fence")
    ordering = ("name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Worker]:
        leases = Lease.objects.filter(owner=OuterRef("name")).values("owner").annotate(n=Count("pk")).values("n")
        kept = Link.objects.filter(worker=OuterRef("name")).exclude(state="stopped")
        links = kept.order_by().values("worker").annotate(n=Count("pk")).values("n")
        rows: QuerySet[Worker] = super().get_queryset(request)
        return rows.annotate(buckets=Subquery(leases), links=Subquery(links))

    @admin.display(description="state")
    def shown_state(self, row: Worker) -> SafeString:
        silent = clock.now_us() - row.beat > WORKER_SILENT_AFTER
        state = "stopped" if row.stopped else "silent" if silent else "alive"
        return format_html('<span class="state" data-state="{}">{}</span>', state, state)

    @admin.display(description=f"buckets of {BUCKETS}", ordering="buckets")
    def buckets(self, row: Any) -> int:
        return row.buckets or 0

    @admin.display(description="links", ordering="links")
    def links(self, row: Any) -> int:
        return row.links or 0

    @admin.display(description="service link")
    def service(self, row: Worker) -> SafeString | str:
        told = row.service_link
        if not told:
            return "—"
        text = f"{told['state']}, {told['links']} links" + (f": {told['reason']}" if told["reason"] else "")
        return format_html('<span class="state" data-state="{}">{}</span>', told["state"], text)

    @admin.display(description="started", ordering="started_at")
    def started(self, row: Worker) -> SafeString | str:
        return moment(row.started_at)

    @admin.display(description="last beat", ordering="beat")
    def last_beat(self, row: Worker) -> SafeString | str:
        return moment(row.beat)


@admin.register(Topic)
class TopicAdmin(Record):
    list_display = ("name", "epoch", "head", "relayed", "floor", "access_version")
    search_fields = ("name",)
    ordering = ("name",)


@admin.register(Switch)
class SwitchAdmin(Record):
    list_display = ("name", "value", "changed")

    @admin.display(description="changed", ordering="changed_at")
    def changed(self, row: Switch) -> SafeString | str:
        return moment(row.changed_at)
