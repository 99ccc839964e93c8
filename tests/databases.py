"""The tests' database, for processes that a test starts."""

from django.conf import settings


def address():
    """Return the address of the database in use as `DATABASE_URL` spells it."""
    database = settings.DATABASES["default"]
    if database["ENGINE"].endswith("sqlite3"):
        return f"sqlite:///{database['NAME']}"
    login = f"{database['USER']}:{database['PASSWORD']}".rstrip(":")
    return f"postgres://{login}@{database['HOST']}:{database['PORT']}/{database['NAME']}"
