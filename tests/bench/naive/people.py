"""Makes the naive peer's accounts, signed in, and prints subject → session cookie as JSON."""

import json

import django


def main():
    django.setup()
    from django.conf import settings
    from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
    from django.contrib.auth.models import User
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command

    from tests.bench import load

    call_command("migrate", interactive=False, verbosity=0, run_syncdb=True)
    cookies = {}
    for subject in load.subjects():
        user = User.objects.create(username=subject)
        session = SessionStore()
        session[SESSION_KEY] = str(user.pk)
        session[BACKEND_SESSION_KEY] = settings.AUTHENTICATION_BACKENDS[0]
        session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        session.create()
        cookies[subject] = f"{settings.SESSION_COOKIE_NAME}={session.session_key}"
    print(json.dumps(cookies))


if __name__ == "__main__":
    main()
