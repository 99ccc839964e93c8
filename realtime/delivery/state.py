"""The whole state for one browser, and the cursor from which the feed continues it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from realtime import feed
from realtime.cursor import cursor_text
from realtime.delivery import envelope
from realtime.delivery.envelope import RequestId
from realtime.product import Product


def current(product: Product, user: Any, topics: Iterable[str], ident: RequestId | None = None) -> envelope.State:
    """Return the state that the user may see. Call it in a database thread.

    The position is read before the state: what is recorded in between is then in both, which the merge rule makes
    harmless, and never in neither.
    """
    places = {name: (head.epoch, head.head) for name, head in feed.ensured_heads(topics).items()}
    snapshot = product.state.snapshot(user)
    return envelope.State(
        id=UNSET if ident is None else ident,
        cursor=cursor_text(places),
        entities=snapshot["entities"],
        meta=snapshot["meta"],
    )
