"""The viewers' pages: each is right by itself, and says as of when; the browser only keeps it right."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from dashboard import access, entities, fleet, forms, freshness, live, switching, timeline, upstream
from dashboard.entities import Entity
from dashboard.models import Membership, User, Visibility
from realtime.clock import now_us


class SignedInRequest(HttpRequest):
    user: User


ROWS = 1000  # a page holds at most this many; above it the filters are applied by the server alone
RECENT = 14
HOPS = ["AppSync to worker", "Worker to database", "Database to feed", "Feed to this page"]

View = Callable[..., dict[str, Any]]
Page = Callable[..., HttpResponse]


def live_page(template: str) -> Callable[[View], Page]:
    """Make a page of the signed-in person: its cursor is read first, then the state of its link, then the view's.

    So a page is at least as new as the versions that it carries, by which its browser knows what is newer.
    """

    def decorate(view: View) -> Page:
        @require_safe
        @never_cache
        @login_required
        @wraps(view)
        def page(request: SignedInRequest, **kwargs: str) -> HttpResponse:
            doors = live.begin(request.user)
            now = now_us()
            link = upstream.own_link(request.user)
            context = view(request, **kwargs)
            reason = link.freshness(now)
            known = access.organizations(request.user.pk)
            standing = {
                "live": doors,
                "now": now,
                "link": link,
                "view": switching.view(known),
                "choices": switching.choices(request.user, known),
                "fresh": reason,
                "is_current": reason is freshness.Reason.CURRENT,
                "why": freshness.EXPLANATIONS[reason],
                "fresh_label": freshness.LABELS[reason],
            }
            return render(request, template, standing | context)

        return page

    return decorate


@live_page("dashboard/overview.html")
def overview(request: SignedInRequest) -> dict[str, Any]:
    devices = _read(request.user, "device/")
    organizations = _read(request.user, "organization/")
    names = {entity.key: entity for entity in (*devices, *organizations, *_read(request.user, "archive/"))}
    return {
        "counts": fleet.count(devices),
        "sites": fleet.sites(devices),
        "organizations": organizations,
        "pulse": _bars(timeline.rate(request.user, now_us())),
        "activity": [(row, names.get(row.key)) for row in timeline.recent(request.user, RECENT)],
    }


@live_page("dashboard/devices.html")
def devices(request: SignedInRequest) -> dict[str, Any]:
    everything = _read(request.user, "device/")
    form = forms.DeviceFilter(request.GET, sites=fleet.sites(everything))
    page = Paginator(fleet.select(everything, form.wanted()), ROWS).get_page(request.GET.get("page"))
    return {
        "form": form,
        "page": page,
        "total": len(everything),
        "complete": len(everything) <= ROWS,
        "filtered": any(form.wanted().get(name) for name in ("q", "status", "site")),
    }


def device(request: SignedInRequest, org_id: str, device_id: str) -> HttpResponse:
    """One device. Of an organisation that is put aside it is said whose it is, and offered to switch."""
    key = f"device/{org_id}/{device_id}"
    is_aside = request.user.is_authenticated and access.put_aside(request.user, key).filter(key=key).exists()
    page = device_aside if is_aside else device_here
    return page(request, org_id=org_id, device_id=device_id)


@live_page("dashboard/aside.html")
def device_aside(request: SignedInRequest, org_id: str, device_id: str) -> dict[str, Any]:
    choices = switching.choices(request.user, access.organizations(request.user.pk))
    return {"choice": next(row for row in choices if row.org_id == org_id)}


@live_page("dashboard/device.html")
def device_here(request: SignedInRequest, org_id: str, device_id: str) -> dict[str, Any]:
    entity = _one(request.user, f"device/{org_id}/{device_id}")
    archives = [row for row in _read(request.user, f"archive/{org_id}/") if row.get("deviceId") == device_id]
    return {
        "device": entity,
        "organization": _find(request.user, f"organization/{org_id}"),
        "archives": archives,
        "timeline": timeline.of_entity(request.user, entity.key),
        "strip": timeline.strip(entity.key, request.user, now_us()),
    }


@require_safe
@login_required
def device_by_id(request: SignedInRequest, device_id: str) -> HttpResponse:
    """The short address. An id is unique in its organisation only: where two match, the list shows both.

    What the active organisation has comes before what is put aside.
    """
    here, aside = access.visible(request.user, "device/"), access.put_aside(request.user, "device/")
    keys = _ending(here, f"/{device_id}") or _ending(aside, f"/{device_id}")[:1]
    if not keys:
        raise Http404
    if len(keys) > 1:
        return redirect(f"{reverse('devices')}?{urlencode({'q': device_id})}")
    return device(request, org_id=keys[0].split("/")[1], device_id=device_id)


@live_page("dashboard/archives.html")
def archives(request: SignedInRequest) -> dict[str, Any]:
    form = forms.ArchiveFilter(request.GET)
    wanted = form.wanted()
    devices = {row.key: row for row in _read(request.user, "device/")}
    everything = _read(request.user, "archive/")
    rows = [(row, devices.get(f"device/{row.org_id}/{row.get('deviceId')}")) for row in everything]
    found = [pair for pair in rows if _archive_matches(*pair, wanted)]
    return {
        "form": form,
        "page": Paginator(found, ROWS).get_page(request.GET.get("page")),
        "total": len(everything),
        "filtered": any(wanted.values()),
    }


@live_page("dashboard/organization.html")
def organization(request: SignedInRequest) -> dict[str, Any]:
    own = {entity.key: entity for entity in _read(request.user, "member/")}
    devices = Counter(row.org_id for row in access.visible(request.user, "device/"))
    members: dict[str, list[tuple[Membership, Entity | None]]] = defaultdict(list)
    for membership in access.colleagues(request.user):
        key = f"member/{membership.org_id}/{membership.user.subject}"
        members[membership.org_id].append((membership, own.get(key)))
    return {
        "organizations": [
            {"organization": entity, "devices": devices[entity.id], "members": members[entity.id]}
            for entity in _read(request.user, "organization/")
        ]
    }


@require_POST
@login_required
def switch_organization(request: SignedInRequest) -> HttpResponse:
    """Look at another of one's organisations, in all tabs; then back to the page, if it is one of ours."""
    org_id = request.POST.get("organization", "")
    if not access.may_choose(request.user, org_id):
        raise Http404
    switching.switch(request.user, org_id)
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure())
    return redirect(back if safe else "overview")


@live_page("dashboard/connection.html")
def connection(request: SignedInRequest) -> dict[str, Any]:
    return {"gaps": timeline.gaps(request.user, now_us() - timeline.DAY_US), "hops": HOPS}


def _read(user: User, prefix: str) -> list[Entity]:
    return entities.by_name(entities.read(access.fields(user, prefix)).values())


def _one(user: User, key: str) -> Entity:
    """The entity of that key; for whoever may not see it, it does not exist."""
    if not access.may_see(user, key):
        raise Http404
    return _find(user, key) or Entity(key)


def _find(user: User, key: str) -> Entity | None:
    return entities.read(access.fields_of(user, key)).get(key)


def _ending(rows: Iterable[Visibility], end: str) -> list[str]:
    return [row.key for row in rows if row.key.endswith(end)]


def _bars(counts: list[int]) -> list[dict[str, float]]:
    """A bar for each count, in a picture that is 40 high and as wide as there are counts."""
    heights = [round(40 * count / max(1, *counts), 1) for count in counts]
    return [
        {"x": x, "y": 40 - height, "height": height, "count": count}
        for x, (count, height) in enumerate(zip(counts, heights, strict=True))
    ]


def _archive_matches(archive: Entity, device: Entity | None, wanted: dict[str, str]) -> bool:
    text = f"{archive.name} {archive.id} {device.name if device else archive.get('deviceId')}".casefold()
    state = wanted.get("state")
    return wanted.get("q", "").casefold() in text and (not state or archive.get("state") == state)
