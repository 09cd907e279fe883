"""`thorax data`: add and list datasets."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thorax.cli.data_check import check
from thorax.cli.data_diff import cases, diff
from thorax.cli.data_download import download
from thorax.cli.options import FOLDER, echo
from thorax.common.errors import require_packages

if TYPE_CHECKING:
    from thorax.datasets.dataset import ScaleName


@click.group()
def data() -> None:
    """Add, download, list, check and compare datasets."""


@data.command("add")
@click.argument("folder", type=FOLDER)
@click.option("--name", required=True, help="Name of the dataset: its folder under data/.")
@click.option(
    "--region",
    "regions",
    multiple=True,
    required=True,
    metavar="NAME=LABELS",
    help="Name of a region and its label values, for example lung=1,2; for DICOM masks, the names "
    "of its regions of interest, for example lung=Lung_L,Lung_R. Repeatable.",
)
@click.option(
    "--ignore", multiple=True, type=int, help="Label value that belongs to no region. Repeatable."
)
@click.option(
    "--patient",
    metavar="REGEX",
    help="Regular expression; its first group in a case name is the patient.",
)
@click.option(
    "--site",
    metavar="REGEX",
    help="Regular expression; its first group in a case name is the site, such as a hospital.",
)
@click.option(
    "--intensity",
    default="auto",
    show_default=True,
    metavar="TEXT",
    help="Meaning of the voxel values: hu, hu+1024, or LOW,HIGH (0..255 stand for this range of "
    "HU); auto detects it for each scan and writes it to dataset.yaml.",
)
@click.option("--title", default="", help="Description of the dataset in one line.")
@click.option("--licence", default="", help="Licence of the dataset.")
def add(
    folder: Path,
    name: str,
    regions: tuple[str, ...],
    ignore: tuple[int, ...],
    intensity: str,
    **descriptions: str | None,
) -> None:
    """Add the dataset in FOLDER as data/NAME.

    Scans and masks are checked, copied and tracked with DVC. Nothing is copied if a case has
    errors. FOLDER contains scans/ and masks/ (or images/ and labels/, or imagesTr/ and labelsTr/).
    A mask has the same name as its scan.

    For DICOM, FOLDER contains one folder per patient with a CT series and its structure set
    (RTSTRUCT) or segmentation (SEG), at any depth. They are converted to NIfTI.

    \b
    Example:
      thorax data add ~/study --name study --region lung=1,2 --region infection=3
      thorax data add ~/LCTSC --name lctsc --region lung=Lung_L,Lung_R
    """
    require_packages("`thorax data add`", "dvc")
    from thorax.datasets.add import add_dataset
    from thorax.datasets.dataset import DatasetSpec
    from thorax.imaging.regions import parse_rois

    rois = parse_rois(regions)
    texts: dict[str, Any] = {key: text for key, text in descriptions.items() if text}
    spec = DatasetSpec(
        regions=_labels(regions, rois),
        ignored=list(ignore),
        intensity=_scale_name(intensity),
        **texts,
    )
    added = add_dataset(folder, root=Path(), name=name, spec=spec, rois=rois)
    echo(f"data/{name}: {len(added.cases)} cases. Next: git add data/{name}; ", nl=False)
    echo(f"dvc exp run -S dataset={name}")
    _warn_of_split(name)


def _labels(options: tuple[str, ...], rois: dict[str, tuple[str, ...]]) -> dict[str, list[int]]:
    """Label values of the regions; numbers in their order if they are named."""
    from thorax.imaging.regions import parse_regions

    if all(text.strip().isdecimal() for texts in rois.values() for text in texts):
        return {region: list(labels) for region, labels in parse_regions(options).labels.items()}
    return {region: [number] for number, region in enumerate(rois, start=1)}


def _warn_of_split(name: str) -> None:
    """Print a note if the split of `params.yaml` is impossible with the new dataset."""
    from thorax.common.errors import InputError
    from thorax.common.params import PATH, load_params
    from thorax.datasets.split_check import check_split

    if PATH.is_file():
        try:
            check_split(Path("data", name), load_params())
        except InputError as error:
            echo(f"Note: {error}", err=True)


def _scale_name(intensity: str) -> "ScaleName":
    """Return the value of the option as it is written in `dataset.yaml`."""
    from thorax.datasets.dataset import scale_name
    from thorax.imaging.intensity import parse_intensity

    scale = parse_intensity(intensity)
    return "auto" if scale is None else scale_name(scale)


@data.command("list")
def list_() -> None:
    """List the datasets under data/.

    \b
    Example:
      thorax data list
    """
    from thorax.common.tables import aligned
    from thorax.datasets.listing import list_datasets

    datasets = list_datasets(Path())
    if not datasets:
        echo("Note: there is no dataset under data/; run this in the folder of a project", err=True)
        return
    rows = [
        {
            "dataset": dataset.name,
            "cases": "no data" if dataset.cases is None else str(dataset.cases),
            "files": dataset.origin,
            "regions": ", ".join(dataset.regions),
            "title": dataset.title,
        }
        for dataset in datasets
    ]
    echo(aligned(rows, rows[0]))
    for dataset in datasets:
        if dataset.problem:
            echo(f"Error: {dataset.problem}", err=True)
        if dataset.origin == "not downloaded":
            echo(
                f"Note: to use {dataset.name}, run `thorax data download {dataset.name}`", err=True
            )


for _command in (check, cases, diff, download):
    data.add_command(_command)
