"""Markup that the page and its browser share: the `data-*` hooks by which a value is kept up to date."""

from __future__ import annotations

import json
from typing import Any

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from dashboard import formats, freshness
from dashboard.entities import Entity
from realtime import clock

register = template.Library()

_FIELD = '<span data-field="{}" data-format="{}" data-value="{}" data-version="{}">{}</span>'
_EMPTY_FIELD = '<span data-field="{}" data-format="{}" data-value="null" data-version="">{}</span>'
_MOMENT = '<time datetime="{}" data-value="{}" title="{}"{}>{}</time>'


@register.simple_tag
def field(entity: Entity | None, name: str) -> SafeString:
    """The value of the entity's field `name`, with its version; a dash while it is not known."""
    shown = formats.shown(name)
    known = entity.fields.get(name) if entity else None
    if known is None:
        return format_html(_EMPTY_FIELD, name, shown.format, formats.UNKNOWN)
    body = tree(known.value) if shown.format == "tree" else formats.text(known.value, shown.format)
    version = f"{known.time}:{known.tie}"
    return format_html(_FIELD, name, shown.format, json.dumps(known.value), version, body)


@register.simple_tag
def moment(us: int | None, hook: str = "") -> SafeString:
    """A time as UTC, which the browser turns into the viewer's zone; `hook` is the data attribute to set."""
    attribute = format_html(" data-{}", hook) if hook else ""
    if not us:
        return format_html("<time{}>{}</time>", attribute, formats.UNKNOWN)
    at, exact = clock.from_us(us).isoformat(), formats.text(us, "time")
    return format_html(_MOMENT, at, us, exact, attribute, clock.brief(us))


@register.simple_tag
def fresh(reason: freshness.Reason) -> SafeString:
    """Whether a row is current, in words, with the explanation on hover."""
    return format_html(
        '<span data-freshness="{}" title="{}">{}</span>',
        reason.value,
        freshness.EXPLANATIONS[reason],
        freshness.LABELS[reason],
    )


@register.filter
def tree(value: Any) -> SafeString:
    """Settings whose shape nobody told us, as nested lists."""
    if isinstance(value, dict):
        items = format_html_join(
            "", "<li><b>{}</b> {}</li>", ((formats.words(str(k)), tree(v)) for k, v in value.items())
        )
        return format_html("<ul>{}</ul>", items)
    if isinstance(value, list):
        return format_html("<ul>{}</ul>", format_html_join("", "<li>{}</li>", ((tree(v),) for v in value)))
    return format_html("{}", formats.text(value, "text"))


@register.filter
def shown_as(value: Any, name: str) -> str:
    """`value` as the field `name` reads."""
    return formats.text(value, formats.shown(name).format)


@register.filter
def words(word: str) -> str:
    return formats.words(word)


@register.filter
def label(name: str) -> str:
    return formats.shown(name).label
