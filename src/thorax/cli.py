"""The `thorax` command. Heavy imports stand inside the callbacks, so that help comes at once."""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import click

from thorax.errors import InputError

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)


class _Group(click.Group):
    """Prints what the user can mend as one line, with exit status 1."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="thorax")
def main() -> None:
    """Segment the lungs, and disease inside them, in 3D chest CT."""


@main.command()
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


@main.command()
@click.argument("truth", type=FILE)
@click.argument("predicted", type=FILE)
@click.option(
    "--region",
    "regions",
    multiple=True,
    metavar="NAME=LABELS",
    help="Label values that make a region, such as lung=1,2,3; may be given again. Unless given, "
    "every label value is a region of its own.",
)
@click.option("--ignore", multiple=True, type=int, help="A label value that belongs to no region.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def score(
    truth: Path, predicted: Path, regions: tuple[str, ...], ignore: tuple[int, ...], as_json: bool
) -> None:
    """Score the mask PREDICTED against TRUTH.

    Prints Dice, IoU and volumes of each region. Both masks lie on one grid; figures are volumetric.

    \b
    Example:
      thorax score truth.nii.gz lungs.nii.gz --region lung=1,2,3 --region infection=3
    """
    from thorax.regions import Regions, parse_regions
    from thorax.scans import Scan
    from thorax.scores import Score, found_regions, score_masks

    true_mask, found_mask = Scan(truth), Scan(predicted)
    known = parse_regions(regions) if regions else found_regions(true_mask, found_mask)
    counts = score_masks(true_mask, found_mask, Regions(known.labels, ignore))
    scores = [
        Score(truth.name, region, count, true_mask.grid.voxel_ml)
        for region, count in counts.items()
    ]
    click.echo(_scores_json(scores) if as_json else _scores_table(scores))


@main.group()
def data() -> None:
    """Bring datasets in, and see which are there."""


@data.command("add")
@click.argument("folder", type=FOLDER)
@click.option("--name", required=True, help="What the dataset is called: a folder under data/.")
@click.option(
    "--region",
    "regions",
    multiple=True,
    required=True,
    metavar="NAME=LABELS",
    help="Label values that make a region, such as lung=1,2; may be given again.",
)
@click.option("--ignore", multiple=True, type=int, help="A label value that belongs to no region.")
@click.option("--patient", metavar="REGEX", help="Its first group is the patient in a case name.")
@click.option(
    "--intensity",
    default="hu",
    show_default=True,
    help="What voxel values mean: hu, or LOW,HIGH where 0..255 stand for that range of HU.",
)
@click.option("--title", default="", help="One line that says what the data are.")
@click.option("--licence", default="", help="Under which the data may be used.")
def add(
    folder: Path,
    name: str,
    regions: tuple[str, ...],
    ignore: tuple[int, ...],
    patient: str | None,
    intensity: str,
    title: str,
    licence: str,
) -> None:
    """Add the study in FOLDER as data/NAME.

    Its scans and masks are checked, copied and tracked with DVC; nothing is copied unless every
    case can be used. FOLDER holds scans/ and masks/ (or images/ and labels/, or imagesTr/ and
    labelsTr/); a mask has the name of its scan.

    \b
    Example:
      thorax data add ~/study --name study --region lung=1,2 --region infection=3
    """
    from thorax.cases import DatasetSpec
    from thorax.regions import parse_regions
    from thorax.studies import add_study, parse_intensity

    labels = {region: list(values) for region, values in parse_regions(regions).labels.items()}
    spec = DatasetSpec(
        regions=labels,
        title=title,
        licence=licence,
        ignored=list(ignore),
        intensity=parse_intensity(intensity),
        **({"patient": patient} if patient else {}),
    )
    added = add_study(folder, root=Path(), name=name, spec=spec)
    click.echo(f"data/{name}: {len(added.cases)} cases. Next: git add data/{name}; ", nl=False)
    click.echo(f"dvc exp run -S dataset={name}")


@data.command("list")
def list_() -> None:
    """List the datasets under data/.

    \b
    Example:
      thorax data list
    """
    from thorax.studies import list_studies

    studies = list_studies(Path())
    if not studies:
        click.echo("no dataset is under data/; run this in the folder of a project", err=True)
    for study in studies:
        cases = "no data yet" if study.cases is None else f"{study.cases} cases"
        regions = ", ".join(study.regions)
        click.echo(f"{study.name:<16} {cases:<12} {study.origin:<16} {regions:<24} {study.title}")
        if study.problem:
            click.echo(f"{'':<16} {study.problem}")


def _keep_existing(targets: list[Path], *, scan: Path, force: bool) -> None:
    there = [path for path in targets if path.exists()]
    if any(path.samefile(scan) for path in there):
        raise InputError(f"a mask must not take the place of its scan, got {scan} for both")
    if there and not force:
        names = ", ".join(map(str, there))
        raise InputError(f"{names} exists already; give --force to write over it")


def _scores_table(scores: list[Any]) -> str:
    lines = [f"{'region':<14} {'Dice':>8} {'IoU':>8} {'truth mL':>10} {'predicted mL':>13}"]
    for row in (one.row() for one in scores):
        lines.append(
            f"{row['region']:<14} {row['dice']:>8.6f} {row['iou']:>8.6f} "
            f"{row['truth_ml']:>10.1f} {row['predicted_ml']:>13.1f}"
        )
    return "\n".join(lines)


def _scores_json(scores: list[Any]) -> str:
    keys = ("dice", "iou", "truth_ml", "predicted_ml")
    figures = {
        row["region"]: {key: None if row[key] != row[key] else round(row[key], 6) for key in keys}
        for row in (one.row() for one in scores)
    }
    return json.dumps(figures, indent=2)


if __name__ == "__main__":
    sys.exit(main())
