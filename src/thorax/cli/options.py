"""Options and printing shared by the commands."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from thorax.common.errors import printable_lines

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path, dir_okay=False)

FOLDER = click.Path(path_type=Path, file_okay=False)

ANY_PATH = click.Path(path_type=Path)

OPEN_SHARE = click.FloatRange(0, 1, min_open=True, max_open=True)

REGIONS = click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME=LABELS",
    help="Name of a region and its label values, for example lung=1,2,3. Repeatable.  "
    "[default: one region per label value]",
)

SERIES = click.option(
    "--series",
    metavar="TEXT",
    help="DICOM series to read, by number or UID.  [default: original axial CT "
    "with the most slices]",
)

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

CLUSTER = click.option(
    "--cluster",
    metavar="ADDRESS|FILE.yaml",
    help="Dask cluster: the address of a running scheduler (tcp://host:8786), or a YAML file that "
    "names a cluster to start, for example on SLURM.",
)


def output_options(*csv_names: str) -> Callable[[Command], Command]:
    """Add ``--csv FILE`` and ``--json`` to a command that prints a table.

    The command gets the parameters ``csv_file`` and ``as_json``.

    Args:
        csv_names: Further names of ``--csv``.
    """
    csv_option = click.option(
        "--csv", *csv_names, "csv_file", type=FILE, help="Also write the table as a CSV file."
    )
    return lambda command: csv_option(JSON(command))


def echo(text: Any, *, err: bool = False, nl: bool = True) -> None:
    """Print a text; control characters are escaped unless it goes to a pipe or a file."""
    content = str(text)
    if err or sys.stdout.isatty():
        content = printable_lines(content)
    click.echo(content, err=err, nl=nl)
