"""The `thorax` command; one module per group of commands.

Heavy modules are imported inside the callbacks, so that help is fast.
"""

from typing import Any

import click

from thorax.cli.compare import compare
from thorax.cli.data import data
from thorax.cli.experiments import cross_validate, sweep
from thorax.cli.model import export, model
from thorax.cli.predict import predict
from thorax.cli.score import score
from thorax.cli.view import view
from thorax.common.errors import InputError, in_one_line


class _Group(click.Group):
    """Prints errors that the user can fix as one line, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with in_one_line():
                return super().invoke(ctx)
        except InputError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="thorax")
def main() -> None:
    """Segment the lungs, and disease inside them, in 3D chest CT."""


for command in (predict, view, score, compare, export, model, cross_validate, sweep, data):
    main.add_command(command)
