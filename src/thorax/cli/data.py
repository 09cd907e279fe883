"""Datasets."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from thorax.cli.data_check import check
from thorax.cli.data_diff import cases, diff
from thorax.cli.options import FOLDER, echo

if TYPE_CHECKING:
    from thorax.datasets.dataset import ScaleName


@click.group()
def data() -> None:
    """Add, list, check and compare datasets."""


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
@click.option("--site", metavar="REGEX", help="Its first group is the site: scanner, hospital, …")
@click.option(
    "--intensity",
    default="auto",
    show_default=True,
    help="What voxel values mean: hu, hu+1024, LOW,HIGH where 0..255 stand for that range of HU; "
    "or auto: each scan is recognised, and what was found is written into dataset.yaml.",
)
@click.option("--title", default="", help="One line that says what the data are.")
@click.option("--licence", default="", help="Under which the data may be used.")
def add(
    folder: Path,
    name: str,
    regions: tuple[str, ...],
    ignore: tuple[int, ...],
    intensity: str,
    **about: str | None,
) -> None:
    """Add the study in FOLDER as data/NAME.

    Its scans and masks are checked, copied and tracked with DVC; nothing is copied unless every
    case can be used. FOLDER holds scans/ and masks/ (or images/ and labels/, or imagesTr/ and
    labelsTr/); a mask has the name of its scan.

    \b
    Example:
      thorax data add ~/study --name study --region lung=1,2 --region infection=3
    """
    from thorax.datasets.add import add_dataset
    from thorax.datasets.dataset import DatasetSpec
    from thorax.imaging.regions import parse_regions

    labels = {region: list(values) for region, values in parse_regions(regions).labels.items()}
    spec = DatasetSpec(
        regions=labels,
        ignored=list(ignore),
        intensity=_named(intensity),
        **{key: text for key, text in about.items() if text},
    )
    added = add_dataset(folder, root=Path(), name=name, spec=spec)
    echo(f"data/{name}: {len(added.cases)} cases. Next: git add data/{name}; ", nl=False)
    echo(f"dvc exp run -S dataset={name}")


def _named(intensity: str) -> "ScaleName":
    """How a `dataset.yaml` names what the option says."""
    from thorax.datasets.dataset import scale_name
    from thorax.imaging.intensity import parse_intensity

    domain = parse_intensity(intensity)
    return "auto" if domain is None else scale_name(domain)


@data.command("list")
def list_() -> None:
    """List the datasets under data/.

    \b
    Example:
      thorax data list
    """
    from thorax.datasets.listing import list_datasets

    studies = list_datasets(Path())
    if not studies:
        echo("no dataset is under data/; run this in the folder of a project", err=True)
    for study in studies:
        cases = "no data yet" if study.cases is None else f"{study.cases} cases"
        regions = ", ".join(study.regions)
        echo(f"{study.name:<16} {cases:<12} {study.origin:<16} {regions:<24} {study.title}")
        if study.problem:
            echo(f"{'':<16} {study.problem}")


for _command in (check, cases, diff):
    data.add_command(_command)
