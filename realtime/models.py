"""What the engine keeps: feeds, links, the gap ledger, credentials, workers and run-time switches.

Times are integers, microseconds since the epoch, as on every hop; only the pages turn them into dates.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import F, Q


def new_epoch() -> str:
    """A random word that tells this life of a topic from every other one."""
    return secrets.token_hex(8)


class Topic(models.Model):
    """One named feed. Its row hands out the offsets, so its lock makes commit order equal offset order."""

    name = models.CharField(max_length=90, primary_key=True)
    epoch = models.CharField(max_length=16, default=new_epoch)
    head = models.BigIntegerField(default=0, help_text="the highest offset given out")
    relayed = models.BigIntegerField(default=0, help_text="the highest offset known to be in the stream")
    floor = models.BigIntegerField(default=0, help_text="a cursor below it gets a resync")
    access_version = models.BigIntegerField(default=0, help_text="rises when what may be seen changes")

    class Meta:
        indexes = [
            models.Index(fields=["name"], name="topic_unrelayed", condition=Q(relayed__lt=F("head"))),
        ]

    def __str__(self) -> str:
        return self.name


class FeedEntry(models.Model):
    """One frame of a topic, complete as browsers get it but for the time of its relay."""

    pk = models.CompositePrimaryKey("topic_id", "offset")
    topic = models.ForeignKey(
        Topic, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+"
    )  # the primary key begins with it: an index of its own would be kept for nothing, at each entry
    offset = models.BigIntegerField()
    epoch = models.CharField(max_length=16)
    key = models.CharField(max_length=200)
    priority = models.SmallIntegerField()
    body = models.TextField()
    at = models.BigIntegerField(db_index=True)

    class Meta:
        verbose_name_plural = "feed entries"

    def __str__(self) -> str:
        return f"{self.topic_id}@{self.offset}"


WORKER_SILENT_AFTER = 6_000_000
"""Microseconds without a beat after which people are told that a worker is silent: two of three were missed."""


class Worker(models.Model):
    """A worker process. Its fence rises with each start: an older process of that name may write no more."""

    name = models.CharField(max_length=64, primary_key=True)
    fence = models.BigIntegerField(default=0)
    started_at = models.BigIntegerField(default=0)
    beat = models.BigIntegerField(default=0, help_text="when it last showed that it is alive")
    stopped = models.BooleanField(default=False, help_text="it said goodbye")
    draining = models.BooleanField(default=False, help_text="an operator has it hand its links over, until it restarts")
    service_link = models.JSONField(default=dict, blank=True, help_text="how its service link is, if it has one")

    def __str__(self) -> str:
        return self.name


BUCKETS = 64
"""Buckets into which links fall by their ids. Ownership goes from worker to worker a bucket at a time."""


def bucket_of(link_id: int) -> int:
    """Return the bucket that a link falls into."""
    return link_id % BUCKETS


class Lease(models.Model):
    """Which worker owns a bucket of links. The fence rises with each new owner: an earlier one may write no more."""

    bucket = models.SmallIntegerField(primary_key=True)
    owner = models.CharField(max_length=64, blank=True, help_text="the worker's name; empty: released")
    fence = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.bucket}: {self.owner or 'nobody'}"


LINK_KEY = "link/self"
"""The key under which each user's feed and snapshot have that user's own link."""


class LinkQuerySet(models.QuerySet["Link"]):
    def in_buckets(self, buckets: Iterable[int]) -> LinkQuerySet:
        """Leave the links that fall into these buckets."""
        return self.alias(bucket=F("pk") % BUCKETS).filter(bucket__in=list(buckets))


LISTENING = ("syncing", "open")
"""States of a link in which it may hear something."""


class Link(models.Model):
    """One user's upstream connection: what operators want of it, and what it last was."""

    class Desire(models.TextChoices):
        AUTO = "auto", "follow demand"
        SUSPENDED = "suspended", "suspended by an operator"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="link")
    subject = models.CharField(max_length=50, unique=True, help_text="the user's name upstream")

    desire = models.CharField(max_length=16, choices=Desire, default=Desire.AUTO)
    reconnect_wanted = models.BigIntegerField(default=0, help_text="rises with each wish to reconnect")
    rotate_wanted = models.BigIntegerField(default=0, help_text="rises with each wish to replace the connection")
    repair_wanted = models.BigIntegerField(default=0, help_text="rises with each wish to compare with a snapshot")
    switch_wanted = models.BigIntegerField(default=0, help_text="rises when its user switches to another organisation")
    desired_revision = models.BigIntegerField(default=0)
    applied_revision = models.BigIntegerField(default=0)

    wanted_at = models.BigIntegerField(
        default=0, db_index=True, help_text="a sign-in, or a wish to reconnect, wants it at once"
    )

    worker = models.CharField(max_length=64, blank=True, help_text="who keeps it, or kept it last")
    protocol = models.CharField(max_length=16, default="events")
    state = models.CharField(max_length=20, default="stopped", db_index=True)
    reason = models.CharField(max_length=200, blank=True)
    since = models.BigIntegerField(default=0)
    attempt = models.IntegerField(default=0)
    next_try_at = models.BigIntegerField(null=True, blank=True)
    last_error = models.CharField(max_length=300, blank=True)
    error_kind = models.CharField(
        max_length=24, blank=True, help_text="what is wrong while it is not open, if anything"
    )
    error_class = models.CharField(max_length=16, blank=True, help_text="what is done about it")
    connects = models.BigIntegerField(default=0)
    drops = models.BigIntegerField(default=0)
    rotations = models.BigIntegerField(default=0, help_text="connections replaced without being deaf in between")
    rotates_at = models.BigIntegerField(null=True, blank=True, help_text="when this one will be replaced")
    health = models.CharField(max_length=16, default="healthy", help_text="suspect: silent for longer than it should")
    breaker = models.CharField(max_length=16, default="closed", help_text="open: tries are paused as they keep failing")
    silences = models.BigIntegerField(default=0, help_text="keep-alives that did not come in time")
    received = models.BigIntegerField(default=0)
    proven_at = models.BigIntegerField(default=0, help_text="up to when everything that arrived is recorded")
    noted_at = models.BigIntegerField(default=0, help_text="version of the public state: rises with each note of it")
    live = models.BooleanField(default=False, help_text="provably live: no gap is open")
    subscriptions = models.JSONField(default=list, blank=True)

    objects = LinkQuerySet.as_manager()

    class Meta:
        permissions = [("operate_link", "Can reconnect, suspend and resume links")]
        indexes = [
            models.Index(fields=["id"], name="link_wished", condition=Q(desired_revision__gt=F("applied_revision"))),
        ]

    def __str__(self) -> str:
        return self.subject

    def feeds(self) -> list[dict[str, Any]]:
        """Return its subscriptions. While it is not up none is live or on a connection, whatever was last heard."""
        rows: list[dict[str, Any]] = self.subscriptions
        return rows if self.state in LISTENING else [{**row, "state": "wanted", "connection": None} for row in rows]

    @property
    def connections(self) -> int:
        """How many connections its subscriptions are dealt out to."""
        return len({row.get("connection") for row in self.feeds()} - {None})

    def public(self) -> dict[str, Any]:
        """As ``public_state``."""
        gap = self.gaps.filter(outcome=Gap.Outcome.OPEN).order_by("started_at", "feed").first() if self.pk else None
        window = (None, None) if gap is None else (gap.started_at, gap.cause)
        return public_state(self.state, self.reason, self.since, self.next_try_at, *window)


def public_state(
    state: str, reason: str, since: int, next_try_at: int | None, gap_since: int | None, gap_cause: str | None
) -> dict[str, Any]:
    """Return what a user is told of the own link: the fields of the entity ``LINK_KEY``, in feed, page and snapshot.

    The gap is the open window that began first, if there is one.
    """
    return {
        "state": state,
        "reason": reason,
        "since": since,
        "next_try": next_try_at,
        "gap": None if gap_since is None else {"since": gap_since, "cause": gap_cause},
    }


class Transition(models.Model):
    """One change of a link's public state, with its reason: the link's flight recorder."""

    link = models.ForeignKey(Link, on_delete=models.CASCADE, related_name="transitions")
    at = models.BigIntegerField(db_index=True)
    state = models.CharField(max_length=20)
    reason = models.CharField(max_length=200, blank=True)
    attempt = models.IntegerField(default=0)
    session = models.BigIntegerField(default=0)
    detail = models.CharField(max_length=300, blank=True)

    def __str__(self) -> str:
        return f"{self.link_id} {self.state}"


class Gap(models.Model):
    """A window in which a subscription was not provably live."""

    class Outcome(models.TextChoices):
        OPEN = "open", "open"
        REPAIRED = "repaired", "repaired"
        NOTHING_MISSED = "nothing-missed", "nothing missed"
        UNKNOWN = "unknown", "unknown"

    link = models.ForeignKey(Link, on_delete=models.CASCADE, related_name="gaps")
    feed = models.CharField(max_length=100, blank=True, help_text="empty: every feed of the link")
    cause = models.CharField(max_length=60)
    started_at = models.BigIntegerField(help_text="the last moment that was provably live")
    live_at = models.BigIntegerField(null=True, blank=True, help_text="when the subscription was live again")
    closed_at = models.BigIntegerField(null=True, blank=True)
    outcome = models.CharField(max_length=16, choices=Outcome, default=Outcome.OPEN, db_index=True)
    differences = models.IntegerField(default=0, help_text="feed entries that the repair made")
    note = models.CharField(max_length=300, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["link", "feed"], condition=Q(outcome="open"), name="one_open_gap"),
        ]

    def __str__(self) -> str:
        return f"{self.link_id} {self.feed or 'all'} {self.outcome}"


class DualRun(models.Model):
    """A comparison of both dialects on one link: that it is wanted, and what its worker has found so far."""

    link = models.OneToOneField(Link, on_delete=models.CASCADE, related_name="dual_run")
    since = models.BigIntegerField(help_text="when it was asked for; what was found before is not in it")
    stopped_at = models.BigIntegerField(null=True, blank=True, help_text="none while it is wanted")
    window = models.FloatField(help_text="seconds that one side waits for the other")
    recorded = models.CharField(max_length=16, blank=True, help_text="the dialect that is recorded")
    sides = models.JSONField(default=dict, blank=True, help_text="state and reason of both sides, by dialect")
    results = models.JSONField(default=dict, blank=True)
    noted_at = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"dual run of {self.link_id}"


class UndecodablePayload(models.Model):
    """An upstream payload that no decoder understood, kept for diagnosis."""

    link = models.ForeignKey(Link, on_delete=models.CASCADE, related_name="+", null=True)
    feed = models.CharField(max_length=100)
    at = models.BigIntegerField(db_index=True)
    path = models.CharField(max_length=100, blank=True, help_text="what does not fit, as a JSON path")
    error = models.CharField(max_length=300)
    payload = models.TextField(help_text="at most the first 8 000 characters")

    def __str__(self) -> str:
        return f"{self.feed}: {self.error}"


class Drift(models.Model):
    """Something in payloads that could be read and is not known here: a field, or a word in one."""

    feed = models.CharField(max_length=100)
    path = models.CharField(max_length=100, help_text="as a JSON path")
    word = models.CharField(max_length=100, blank=True, help_text="a word that no list has")
    count = models.BigIntegerField(help_text="payloads that held it")
    first_at = models.BigIntegerField()
    last_at = models.BigIntegerField(db_index=True)
    sample = models.TextField(help_text="at most the first 2 000 characters of the newest one")

    class Meta:
        verbose_name_plural = "drift"
        constraints = [models.UniqueConstraint(fields=("feed", "path", "word"), name="realtime_drift_kind")]

    def __str__(self) -> str:
        return f"{self.feed} {self.path} {self.word}".strip()


class Credential(models.Model):
    """A user's upstream tokens, encrypted. Only the worker that owns the user's link refreshes them.

    A revocation ends their generation, as a sign-in does; an issuer that refuses to refresh them does not.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="credential")
    sealed = models.BinaryField(help_text="tokens, encrypted with TOKEN_KEY")
    generation = models.BigIntegerField(
        default=0, help_text="rises with each sign-in: a refresh of an older one is void"
    )
    refused = models.CharField(max_length=200, blank=True, help_text="why the issuer refused to refresh them")

    def __str__(self) -> str:
        return f"credential of {self.user_id}"


class Switch(models.Model):
    """A run-time switch that overrides the environment's default and survives every process."""

    name = models.CharField(max_length=60, primary_key=True)
    value = models.JSONField()
    changed_at = models.BigIntegerField()

    class Meta:
        verbose_name_plural = "switches"

    def __str__(self) -> str:
        return self.name
