"""``python -m tests.faults.talkative COMMAND …``: a command of the product that logs all there is to log.

A frame that holds ``CRASH`` makes the session that reads it fail while a token is in its hands.
"""

import os
import sys

CRASH = "fall over here"


def main():
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    from django.conf import settings

    settings.LOGGING["root"]["level"] = "DEBUG"

    import django

    django.setup()
    fail_on_the_word()
    from django.core.management import execute_from_command_line

    execute_from_command_line(["manage.py", *sys.argv[1:]])


def fail_on_the_word():
    from realtime.upstream import line

    take = line.Line._take

    def taking(self, event, now):
        token = self._authorization
        if CRASH in repr(event):
            raise RuntimeError(f"planted, with a {type(token).__name__} at hand")
        return take(self, event, now)

    line.Line._take = taking


if __name__ == "__main__":
    main()
