"""What all commands share: a help text that ends in examples, as they are to be typed."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError


class ExampleCommand(BaseCommand):
    """A command whose ``examples`` stand at the end of its ``--help``, and to whom a broken database is no riddle."""

    examples: str

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
