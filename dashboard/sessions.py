"""Where sign-ins are kept: in the database, as Django does, under the digest of their key.

Whoever reads the table, or a backup of it, gets no cookie to sign in with.
"""

from __future__ import annotations

from django.contrib.sessions.backends import db

from dashboard.models import Session


class SessionStore(db.SessionStore):
    """As Django's."""

    @classmethod
    def get_model_class(cls) -> type[Session]:
        return Session
