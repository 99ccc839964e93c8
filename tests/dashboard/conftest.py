"""People of two organisations, of whom one belongs to both, and the entities that each may see."""

import json
from types import SimpleNamespace

import pytest
from django.test import Client

from dashboard import demo
from dashboard.models import Field, Membership, User, Visibility
from realtime.merge import canonical, tie
from realtime.models import Link, Worker

NOW = 1_790_000_000_000_000
PASSWORD_BACKEND = "django.contrib.auth.backends.ModelBackend"


def show(key, people, at=NOW, **values):
    """Record an entity and let `people` see it."""
    texts = {name: canonical(value) for name, value in values.items()}
    times = {"time": at, "changed_at": at, "confirmed_at": at, "heard_at": at, "recorded_at": at}
    Field.objects.bulk_create(Field(key=key, name=n, value=t, tie=tie(t), **times) for n, t in texts.items())
    org = key.split("/")[1]
    Visibility.objects.bulk_create([Visibility(user=user, key=key, org_id=org, granted_at=at) for user in people])


def signed_in(user):
    client = Client()
    client.force_login(user, backend=PASSWORD_BACKEND)
    return client


@pytest.fixture
def people(db):
    """The demo's accounts, by name."""
    demo.seed()
    return SimpleNamespace(**{user.username: user for user in User.objects.all()})


@pytest.fixture
def fleet(people):
    """Aurora has two devices, of which `viewer` sees one; `rival` has one in Borealis with the id of Aurora's first."""
    aurora = [people.viewer, people.owner, people.operator]
    lobby = {"name": "Lobby camera 1", "model": "FL-200", "siteId": "site-a", "online": True, "recording": False}
    show("device/org-aurora/cam-1", aurora, **lobby, fwUpdateState="Idle")
    show("device/org-aurora/cam-2", aurora[1:], name="Garage camera 2", siteId="site-b", online=False)
    show("device/org-borealis/cam-1", [people.rival], name="Quay camera", siteId="site-c", online=True)
    settings = {"detection": {"people": True}, "zones": ["entrance"]}
    about = {"licensePhase": "Valid", "isFreePlan": False, "AIControlSetting": settings}
    show("organization/org-aurora", aurora, name="Aurora Logistics", **about)
    show("organization/org-borealis", [people.rival], name="Borealis Retail", licensePhase="NoticePeriod")
    show("archive/org-aurora/clip-1", aurora, deviceId="cam-1", state="Processing", progress=40)
    show("archive/org-aurora/clip-2", aurora[1:], deviceId="cam-2", state="Ready")
    show("archive/org-borealis/clip-9", [people.rival], deviceId="cam-1", state="Failed")
    for user, org, role in (
        (people.viewer, "org-aurora", "Viewer"),
        (people.owner, "org-aurora", "Owner"),
        (people.rival, "org-borealis", "Owner"),
    ):
        Membership.objects.create(user=user, org_id=org, role=role, changed_at=NOW)
        show(f"member/{org}/{user.subject}", [user], role=role)
    return people


@pytest.fixture
def manager(fleet):
    """Belongs to both organisations and sees everything of either; has never chosen, so Aurora is active."""
    manager = fleet.manager
    for org, role in (("org-aurora", "Admin"), ("org-borealis", "Supervisor")):
        Membership.objects.create(user=manager, org_id=org, role=role, changed_at=NOW)
        show(f"member/{org}/sub-manager", [manager], role=role)
    shared = Visibility.objects.exclude(key__startswith="member/").values_list("key", "org_id").distinct()
    grants = [Visibility(user=manager, key=key, org_id=org, granted_at=NOW) for key, org in shared]
    Visibility.objects.bulk_create(grants)
    return manager


def link_up(user, state="open", now=NOW, **values):
    """Give `user` a link in `state`, kept by a worker that is alive at `now`."""
    Worker.objects.update_or_create(name="w1", defaults={"beat": now, "started_at": now})
    defaults = {"subject": user.subject, "worker": "w1", "state": state, "since": now - 1000, **values}
    return Link.objects.create(user=user, **defaults)


def value_of(html, field):
    """The raw JSON value of the first node of that field."""
    node = html.split(f'data-field="{field}"', 1)[1]
    raw = node.split('data-value="', 1)[1].split('"', 1)[0]
    return json.loads(raw.replace("&quot;", '"').replace("&#x27;", "'"))
