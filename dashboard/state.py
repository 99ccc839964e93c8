"""The current state for a browser: the engine's `State` protocol."""

from __future__ import annotations

from typing import Any

from dashboard import access, entities, upstream
from dashboard.models import User


class CurrentState:
    def snapshot(self, user: User) -> dict[str, Any]:
        """Return `entities` and `meta` of everything that `user` may see, and the user's own link.

        The caller reads its feed position first: what is recorded in between is then both in the state and in
        the entries that follow, and the merge rule makes the second time harmless.
        """
        seen = entities.read(access.fields(user))
        wire: dict[str, dict[str, list[Any]]] = {
            key: {name: [field.value, field.time, field.tie] for name, field in entity.fields.items()}
            for key, entity in seen.items()
        }
        wire[upstream.KEY] = upstream.own_link(user).fields()
        meta = {
            key: {"changed": entity.changed, "confirmed": entity.confirmed, "heard": entity.heard}
            for key, entity in seen.items()
        }
        return {"entities": wire, "meta": meta}
