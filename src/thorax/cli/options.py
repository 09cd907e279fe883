"""What the commands have in common."""

import sys
from pathlib import Path
from typing import Any

import click

from thorax.common.errors import printable_lines

FILE = click.Path(path_type=Path, dir_okay=False)

FOLDER = click.Path(path_type=Path, file_okay=False)

ANY = click.Path(path_type=Path)

MODEL = Path("models/segmenter.onnx")
"""What `dvc repro` exports."""

REGIONS = click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME=LABELS",
    help="Label values that make a region, such as lung=1,2,3; may be given again. Unless given, "
    "every label value is a region of its own.",
)

SERIES = click.option(
    "--series", metavar="TEXT", help="Of several DICOM series, the one to read, by number or UID."
)


def echo(text: Any, *, err: bool = False, nl: bool = True) -> None:
    """Print, so that no name steers a terminal; what goes to another program is left as it is."""
    shown = str(text)
    if err or sys.stdout.isatty():
        shown = printable_lines(shown)
    click.echo(shown, err=err, nl=nl)
