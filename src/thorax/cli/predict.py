"""Segmenting scans."""

from functools import partial
from pathlib import Path

import click

from thorax.cli.options import FILE, FOLDER
from thorax.errors import InputError


@click.command()
@click.argument("scan", type=FILE)
@click.argument("mask", type=FILE)
@click.option(
    "--model",
    type=FOLDER,
    default=Path("models/segmenter"),
    show_default=True,
    help="Folder of a trained segmenter.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Probability from which on a voxel belongs to a region; the model's own unless given.",
)
@click.option(
    "--probabilities",
    is_flag=True,
    help="Also write the probability of each region, 8-bit, as MASK with the region in its name.",
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
def predict(
    scan: Path, mask: Path, model: Path, threshold: float | None, probabilities: bool, force: bool
) -> None:
    """Segment SCAN, a chest CT, into MASK.

    SCAN is NIfTI in HU. MASK lies on its grid, with the label values of the masks that the model
    was trained on.

    \b
    Example:
      thorax predict ct.nii.gz lungs.nii.gz
    """
    from tqdm import tqdm

    from thorax.scans import Scan, check_name
    from thorax.segmenter import load, load_spec, written_files

    check_name(mask)
    opened = Scan(scan)
    targets = written_files(mask, load_spec(model), probabilities=probabilities)
    _keep_existing(targets, scan=scan, force=force)
    load(model).segment(
        opened,
        mask,
        threshold=threshold,
        probabilities=probabilities,
        watch=partial(tqdm, desc=scan.name, unit="slab", leave=False, disable=None),
    )
    for path in targets:
        click.echo(path)


def _keep_existing(targets: list[Path], *, scan: Path, force: bool) -> None:
    there = [path for path in targets if path.exists()]
    if any(path.samefile(scan) for path in there):
        raise InputError(f"a mask must not take the place of its scan, got {scan} for both")
    if there and not force:
        names = ", ".join(map(str, there))
        raise InputError(f"{names} exists already; give --force to write over it")
