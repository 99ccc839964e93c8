"""The world at its beginning: the demo's two organisations with five accounts, or any number of equal ones."""

from __future__ import annotations

from random import Random

from realtime.emulator.options import Fleet
from realtime.emulator.world import Archive, Device, Organization, Person, World, sees

PLACES = (
    "Lobby", "Loading dock", "Car park", "Reception", "Server room", "Stairwell", "Roof", "Warehouse", "Canteen",
    "Gate", "Corridor", "Workshop", "Yard", "Archive room", "Lift hall",
)  # fmt: skip
MODELS = ("FC-200", "FC-400 dome", "FC-400 turret", "FL-90 doorbell", "FX-10 thermal")
VERSIONS = ("4.1.3", "4.2.0", "4.2.1")
SITES = ("site-1", "site-2", "site-3")

DEVICES_PER_ARCHIVE = 6


def plant(fleet: Fleet) -> World:
    """Return a new world of the wished size; the same ``fleet`` always gives the same one."""
    rng = Random(fleet.seed)
    world = World()
    if fleet.organizations:
        _equal_organizations(world, fleet)
    else:
        _demo_organizations(world)
    shares = _shares(list(world.organizations.values()), fleet.devices)
    for organization, count in shares:
        _add_devices(world, organization.org_id, count, rng)
    for person in world.people.values():
        person.visible = {device.key for device in world.devices.values() if sees(person, device)}
    return world


def _demo_organizations(world: World) -> None:
    for org_id, name in (("org-aurora", "Aurora Logistics"), ("org-borealis", "Borealis Retail")):
        _add_organization(world, org_id, name)
    for username, org_id, role in (
        ("viewer", "org-aurora", "Viewer"),
        ("owner", "org-aurora", "Owner"),
        ("operator", "org-aurora", "Admin"),
        ("manager", "org-aurora", "Admin"),
        ("rival", "org-borealis", "Owner"),
    ):
        _add_person(world, f"sub-{username}", username, org_id, role)
    world.people["sub-manager"].roles["org-borealis"] = "Supervisor"


def _equal_organizations(world: World, fleet: Fleet) -> None:
    for org in range(1, fleet.organizations + 1):
        _add_organization(world, f"org-{org}", f"Organisation {org}")
        for i in range(1, fleet.people + 1):
            _add_person(world, f"sub-{org}-{i}", f"user-{org}-{i}", f"org-{org}", "Owner" if i == 1 else "Admin")


def _add_organization(world: World, org_id: str, name: str) -> None:
    settings = {
        "personDetection": True,
        "vehicleDetection": False,
        "retentionDays": 30,
        "sensitivity": {"day": 0.6, "night": 0.8},
    }
    world.organizations[f"organization/{org_id}"] = Organization(org_id, name, ai_control_setting=settings)


def _add_person(world: World, sub: str, username: str, org_id: str, role: str) -> None:
    world.people[sub] = Person(sub, username, SITES[0], {org_id: role})


def _shares(organizations: list[Organization], devices: int) -> list[tuple[Organization, int]]:
    """Share devices out; of two organisations the first gets two thirds, which makes the demo's views differ."""
    if len(organizations) == 2:
        return [(organizations[0], devices - devices // 3), (organizations[1], devices // 3)]
    each, rest = divmod(devices, len(organizations))
    return [(organization, each + (i < rest)) for i, organization in enumerate(organizations)]


def _add_devices(world: World, org_id: str, count: int, rng: Random) -> None:
    for i in range(1, count + 1):
        device = Device(
            org_id,
            f"cam-{i:03}",
            f"{PLACES[(i - 1) % len(PLACES)]} camera {(i - 1) // len(PLACES) + 1}",
            model=rng.choice(MODELS),
            site_id=SITES[(i - 1) % len(SITES)],
            online=rng.random() > 0.06,
            recording=rng.random() > 0.2,
            version=rng.choice(VERSIONS),
        )
        world.devices[device.key] = device
        if i % DEVICES_PER_ARCHIVE == 1:
            _add_archive(world, device, i // DEVICES_PER_ARCHIVE + 1)


def _add_archive(world: World, device: Device, number: int) -> None:
    ready = number % 3 != 0
    archive = Archive(
        device.org_id,
        f"arc-{number:03}",
        device.device_id,
        f"{device.name}, recording {number}",
        state="Ready" if ready else "Queued",
        progress=100 if ready else 0,
    )
    world.archives[archive.key] = archive
