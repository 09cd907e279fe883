"""What the commands have in common."""

from pathlib import Path

import click

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
ANY = click.Path(path_type=Path)
MODEL = Path("models/segmenter.onnx")
"""What `dvc repro` exports."""
