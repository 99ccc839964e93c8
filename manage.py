#!/usr/bin/env python
"""Runs this project's commands; `manage.py help` lists them."""

import os
import sys

from realtime import tether


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    tether.watch_parent()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
