"""What all commands share: a help text that ends in examples as they are to be typed, and plain words at the end."""

from __future__ import annotations

import os
import sys
from argparse import RawDescriptionHelpFormatter
from typing import Any, TextIO

from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import DatabaseError

BROKEN_PIPE = 128 + 13
"""What a shell reports for a program that SIGPIPE ended."""


class UntilClosed(OutputWrapper):
    """Output that ends the process when nobody reads it any more, as in ``tail viewer | head``.

    At once, and not by an exception: among callbacks of sockets that would be caught, logged and raised again.
    """

    def write(  # type: ignore[override]  # as its stub does: it returns nothing
        self, msg: str = "", style_func: Any = None, ending: str | None = None
    ) -> None:
        try:
            super().write(msg, style_func, ending)
        except BrokenPipeError:
            os._exit(BROKEN_PIPE)

    def flush(self) -> None:
        try:
            super().flush()
        except BrokenPipeError:
            os._exit(BROKEN_PIPE)


class ExampleCommand(BaseCommand):
    """A command whose ``examples`` stand at the end of its ``--help``, and to whom a broken database is no riddle."""

    examples: str

    def __init__(self, stdout: TextIO | None = None, **kwargs: Any) -> None:
        super().__init__(stdout, **kwargs)
        self.stdout = UntilClosed(stdout or sys.stdout)

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        epilog = f"examples:\n{self.examples}"
        return super().create_parser(
            prog_name, subcommand, epilog=epilog, formatter_class=RawDescriptionHelpFormatter, **kwargs
        )

    def execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except DatabaseError as error:
            raise CommandError(
                f"the database can't be used: {error}. Is DATABASE_URL right, and was `manage.py migrate` run?"
            ) from error
