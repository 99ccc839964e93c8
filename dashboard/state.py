"""The current state for a browser: the engine's `State` protocol."""

from __future__ import annotations

from typing import Any

from dashboard import access, entities, switching, upstream
from dashboard.entities import Entity
from dashboard.models import User
from realtime.models import LINK_KEY


class CurrentState:
    def snapshot(self, user: User) -> dict[str, Any]:
        """Return `entities` and `meta` of everything that `user` may see now, the own link, and what `user` looks at.

        The caller reads its feed position first: what is recorded in between is then both in the state and in
        the entries that follow, and the merge rule makes the second time harmless.
        """
        seen = entities.read(access.fields(user))
        seen[LINK_KEY] = upstream.own_link(user).entity
        seen[switching.VIEW_KEY] = switching.view(access.organizations(user.pk))
        return {
            "entities": {key: _wire(entity) for key, entity in seen.items()},
            "meta": {
                key: {"changed": entity.changed, "confirmed": entity.confirmed, "heard": entity.heard}
                for key, entity in seen.items()
            },
        }


def _wire(entity: Entity) -> dict[str, list[Any]]:
    return {name: [field.value, field.time, field.tie] for name, field in entity.fields.items()}
