"""What the commands have in common."""

from pathlib import Path

import click

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
