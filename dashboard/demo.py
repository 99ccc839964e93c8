"""The accounts of the demo. Everything else they see comes from upstream."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import Permission
from django.db import transaction

from dashboard.models import User

PASSWORD = "fleetlight"
OPERATED = ("link", "transition", "gap", "undecodablepayload", "drift", "worker", "switch", "topic")


@dataclass(frozen=True, slots=True)
class Account:
    """A person of the demo and the same person's name upstream."""

    username: str
    subject: str
    first_name: str
    about: str
    staff: bool = False


ACCOUNTS = (
    Account("viewer", "sub-viewer", "Vera", "sees one site of Aurora"),
    Account("owner", "sub-owner", "Oskar", "sees all of Aurora"),
    Account("operator", "sub-operator", "Olga", "staff: also sees which hop is broken", staff=True),
    Account("manager", "sub-manager", "Mira", "sees all of Aurora and of Borealis, one at a time"),
    Account("rival", "sub-rival", "Rita", "another organisation"),
)


@transaction.atomic
def seed() -> None:
    """Make the demo's accounts, or bring them back to what the demo says. Running it again changes nothing."""
    for account in ACCOUNTS:
        user, made = User.objects.update_or_create(
            username=account.username,
            defaults={
                "subject": account.subject,
                "first_name": account.first_name,
                "is_staff": account.staff,
                "is_active": True,
            },
        )
        if made or not user.check_password(PASSWORD):
            user.set_password(PASSWORD)
            user.save(update_fields=["password"])
        user.user_permissions.set(_operating() if account.staff else [])


def _operating() -> list[Permission]:
    """What an operator may do: look at the engine's records and operate links."""
    codes = [f"view_{model}" for model in OPERATED] + ["operate_link"]
    return list(Permission.objects.filter(content_type__app_label="realtime", codename__in=codes))
