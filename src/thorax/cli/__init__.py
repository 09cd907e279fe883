"""The `thorax` command; one module per group of commands.

Heavy modules are imported inside the callbacks, so that help is fast.
"""

import atexit
import os
import sys
from importlib import import_module
from typing import Any, NoReturn

import click

from thorax.common.errors import InputError, in_one_line

COMMANDS = {
    "predict": "predict:predict",
    "manifest": "manifest:manifest",
    "view": "view:view",
    "summarize": "summarize:summarize",
    "score": "score:score",
    "compare": "compare:compare",
    "export": "model:export",
    "model": "model:model",
    "cross-validate": "experiments:cross_validate",
    "sweep": "experiments:sweep",
    "benchmark": "benchmark:benchmark",
    "recipe": "recipe:recipe",
    "data": "data:data",
}
"""Name of each command → its module and function."""


class _Group(click.Group):
    """Imports a command when it is used, and prints errors of the user as one line.

    The exit status is then 1.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, function = COMMANDS[cmd_name].split(":")
        command: click.Command = getattr(import_module(f"thorax.cli.{module}"), function)
        return command

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


# Only the names are used, for suggestions.
main.commands = {name: click.Command(name) for name in COMMANDS}


def run() -> NoReturn:
    """Run the command as a program."""
    try:
        main(prog_name="thorax")
    except SystemExit as end:
        if end.code or sys.argv[1:2] != ["predict"]:
            raise
    # Python would free module by module what the system frees at once, which takes a tenth of the
    # time of `thorax predict`.
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
