"""Makes the bench's accounts, signed in here and upstream, and prints subject → session cookie as JSON."""

from __future__ import annotations

import json

import django


def main() -> None:
    django.setup()
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.core.management import call_command

    from dashboard.models import User
    from dashboard.sessions import SessionStore
    from realtime import credentials
    from realtime.emulator.options import PASSWORD, Fleet
    from realtime.emulator.seed import plant
    from tests.bench import load

    call_command("migrate", interactive=False, verbosity=0)
    cookies = {}
    for person in plant(Fleet(load.DEVICES, load.ORGANIZATIONS, load.PEOPLE)).people.values():
        user = User.objects.create(username=person.username, subject=person.sub)
        problem = credentials.sign_in(user, person.username, PASSWORD)
        assert not problem, problem
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[-1]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        cookies[person.sub] = f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
    print(json.dumps(cookies))


if __name__ == "__main__":
    main()
