"""The operators' pages of upstream links, in the admin. Every action needs its permission and is audited."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from dashboard import diagnostics
from realtime import control
from realtime.admin import Record, moment
from realtime.clock import now_us
from realtime.models import Link

PERMISSION = "realtime.operate_link"


class LinkAdmin(Record):
    """Every upstream link, paged by the server, and one page each."""

    list_display = (
        "subject",
        "shown_state",
        "reason",
        "worker",
        "live_of_wanted",
        "attempt",
        "lasting",
        "received",
        "last_error",
    )
    list_filter = ("state", "live", "desire", "worker", "protocol")
    search_fields = ("subject", "user__username", "reason", "last_error")
    ordering = ("subject",)
    actions = control.OPERATIONS
    change_form_template = "admin/realtime/link/change_form.html"

    @admin.display(description="state", ordering="state")
    def shown_state(self, link: Link) -> SafeString:
        return format_html('<span class="state" data-state="{}">{}</span>', link.state, link.state)

    @admin.display(description="live / wanted")
    def live_of_wanted(self, link: Link) -> str:
        live, wanted = diagnostics.live_of_wanted(link)
        return f"{live} / {wanted}"

    @admin.display(description="since", ordering="since")
    def lasting(self, link: Link) -> SafeString | str:
        return moment(link.since)

    def has_operate_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(PERMISSION)

    @admin.action(description="Reconnect", permissions=["operate"])
    def reconnect(self, request: HttpRequest, links: QuerySet[Link]) -> None:
        self._operate(request, "reconnect", links)

    @admin.action(description="Replace the connection, without a gap", permissions=["operate"])
    def rotate(self, request: HttpRequest, links: QuerySet[Link]) -> None:
        self._operate(request, "rotate", links)

    @admin.action(description="Compare with a snapshot", permissions=["operate"])
    def repair(self, request: HttpRequest, links: QuerySet[Link]) -> None:
        self._operate(request, "repair", links)

    @admin.action(description="Suspend", permissions=["operate"])
    def suspend(self, request: HttpRequest, links: QuerySet[Link]) -> None:
        self._operate(request, "suspend", links)

    @admin.action(description="Resume", permissions=["operate"])
    def resume(self, request: HttpRequest, links: QuerySet[Link]) -> None:
        self._operate(request, "resume", links)

    def _operate(self, request: HttpRequest, wish: str, links: QuerySet[Link]) -> None:
        """Write the wish down for each link that it means something for, durably, and who had it."""
        asked = []
        for link in links:
            try:
                control.wish(link.pk, wish)
            except control.NotNow as error:
                self.message_user(request, f"Not asked to {wish}: {link.subject}, as {error}.", messages.WARNING)
            else:
                self.log_change(request, link, f"Asked to {wish}.")
                asked.append(link.subject)
        if asked:
            text = f"Asked to {wish}: {', '.join(asked)}. The worker answers within seconds."
            self.message_user(request, text, messages.SUCCESS)

    def get_urls(self) -> list:
        operate = self.admin_site.admin_view(require_POST(self.operate))
        return [path("<int:link_id>/operate/", operate, name="realtime_link_operate"), *super().get_urls()]

    def operate(self, request: HttpRequest, link_id: int) -> HttpResponse:
        """The buttons of one link's page."""
        wish = request.POST.get("wish", "")
        if not self.has_operate_permission(request) or wish not in control.OPERATIONS:
            raise PermissionDenied
        get_object_or_404(Link, pk=link_id)
        self._operate(request, wish, Link.objects.filter(pk=link_id))
        return redirect(reverse("admin:realtime_link_change", args=[link_id]))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        link = self.get_object(request, object_id)
        shown = {} if link is None else self._diagnosis(request, link)
        return super().change_view(request, object_id, form_url, {**(extra_context or {}), **shown})

    def _diagnosis(self, request: HttpRequest, link: Link) -> dict[str, Any]:
        now = now_us()
        live, wanted = diagnostics.live_of_wanted(link)
        return {
            "title": f"Link of {link.subject}",
            "link": link,
            "now": now,
            "live": live,
            "wanted": wanted,
            "worker_silent": diagnostics.worker_is_silent(link.worker, now),
            "subscriptions": diagnostics.subscriptions(link),
            "transitions": diagnostics.transitions(link),
            "gaps": diagnostics.gaps(link),
            "dual_run": diagnostics.dual_run(link, now),
            "may_operate": self.has_operate_permission(request),
        }
