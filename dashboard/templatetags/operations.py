"""What the admin's own pages show of the engine."""

from __future__ import annotations

from django import template

from dashboard import diagnostics
from realtime.clock import now_us

register = template.Library()


@register.simple_tag
def engine_summary() -> diagnostics.Summary:
    return diagnostics.summary(now_us())
