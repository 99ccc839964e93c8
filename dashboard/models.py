"""The product's data: people, what they may see, and the versioned fields of every entity.

An entity is a key (``device/<orgId>/<deviceId>``) and its fields. Each field carries the version of the fact
that set it, so that recording, feed and browser can apply one rule: only a newer fact overwrites.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from django.contrib.auth.models import AbstractUser
from django.contrib.sessions.base_session import AbstractBaseSession
from django.db import models


class User(AbstractUser):
    """A person who signs in; ``subject`` is the same person's name upstream (one channel segment)."""

    subject = models.CharField(max_length=50, unique=True, null=True, blank=True)
    session_epoch = models.BigIntegerField(default=0, help_text="raising it ends all sign-in sessions")
    organization = models.CharField(max_length=64, blank=True, help_text="the one that this person looks at")
    organization_at = models.BigIntegerField(default=0, help_text="when that, or the choice there is, last changed")

    def get_session_auth_hash(self) -> str:
        """As Django's, and void once ``session_epoch`` has risen (token revoked, last membership ended)."""
        return self._of_this_epoch(super().get_session_auth_hash())

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        """As Django's: the same with each earlier secret key, so that a rotated key ends nobody's session."""
        yield from map(self._of_this_epoch, super().get_session_auth_fallback_hash())

    def _of_this_epoch(self, session_auth_hash: str) -> str:
        return sha256(f"{session_auth_hash}:{self.session_epoch}".encode()).hexdigest()


class Digest(str):
    """What is stored in place of a session's key."""

    __slots__ = ()

    @classmethod
    def of(cls, key: str) -> Digest:
        """Return a key's digest. The key has the entropy of a key, so it needs no salt and no slow hash."""
        return cls(sha256(key.encode()).hexdigest()[:40])


class KeyField(models.CharField):
    """A text that only its digest is stored of: it can be looked up, and not be read."""

    def get_prep_value(self, value: Any) -> Any:
        return Digest.of(value) if isinstance(value, str) and not isinstance(value, Digest) else value

    def from_db_value(self, value: str | None, *context: Any) -> Digest | None:
        return None if value is None else Digest(value)


class Session(AbstractBaseSession):
    """A sign-in, as Django keeps it but for its key, which is the browser's alone."""

    session_key = KeyField(max_length=40, primary_key=True)


class Membership(models.Model):
    """A person's role in an organisation, as the upstream says. It is kept after its end."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    org_id = models.CharField(max_length=64, db_index=True)
    role = models.CharField(max_length=40, blank=True)
    changed_at = models.BigIntegerField(default=0)
    ended_at = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "org_id"], name="one_membership")]

    def __str__(self) -> str:
        return f"{self.user_id} {self.role} in {self.org_id}"


class Visibility(models.Model):
    """That a person may see an entity: granted by this person's own snapshot and own channels, nothing else."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="visibilities")
    key = models.CharField(max_length=200)
    org_id = models.CharField(max_length=64, blank=True)
    granted_at = models.BigIntegerField()
    ended_at = models.BigIntegerField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["user", "key"], name="one_visibility")]
        indexes = [models.Index(fields=["key"], name="visibility_key")]
        verbose_name_plural = "visibilities"

    def __str__(self) -> str:
        return f"{self.user_id} {self.key}"


class Field(models.Model):
    """One field of one entity: its newest known value and that value's version (``time``, ``tie``)."""

    key = models.CharField(max_length=200)
    name = models.CharField(max_length=40)
    value = models.TextField(help_text="JSON")
    time = models.BigIntegerField()
    tie = models.BigIntegerField()
    sourced = models.BooleanField(default=True, help_text="the time is the source's; else that of its receipt")
    changed_at = models.BigIntegerField(help_text="source time of the last change of the value")
    confirmed_at = models.BigIntegerField(help_text="when the value was last known to hold")
    heard_at = models.BigIntegerField(help_text="when a copy of it last arrived")
    recorded_at = models.BigIntegerField(help_text="when the value last changed here")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["key", "name"], name="one_field")]
        indexes = [models.Index(fields=["recorded_at"], name="field_recorded")]

    def __str__(self) -> str:
        return f"{self.key} {self.name}"


class Change(models.Model):
    """A line of an entity's timeline: a field took a value."""

    key = models.CharField(max_length=200)
    name = models.CharField(max_length=40)
    value = models.TextField(help_text="JSON")
    time = models.BigIntegerField()
    recorded_at = models.BigIntegerField(db_index=True)
    source = models.CharField(max_length=16)

    class Meta:
        indexes = [models.Index(fields=["key", "-time"], name="change_key_time")]

    def __str__(self) -> str:
        return f"{self.key} {self.name} {self.time}"


class Refused(models.Model):
    """An update that did not become the state, and why: older than what is known, tied, or from the future."""

    class Reason(models.TextChoices):
        OLDER = "older", "older than what is known"
        TIED = "tied", "same time, another value"
        FUTURE = "future", "more than five minutes in the future"

    key = models.CharField(max_length=200, db_index=True)
    name = models.CharField(max_length=40)
    value = models.TextField(help_text="JSON")
    time = models.BigIntegerField()
    recorded_at = models.BigIntegerField(db_index=True)
    reason = models.CharField(max_length=16, choices=Reason)
    source = models.CharField(max_length=16)

    class Meta:
        verbose_name_plural = "refused updates"

    def __str__(self) -> str:
        return f"{self.key} {self.name} {self.reason}"
