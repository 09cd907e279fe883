"""Segmenting scans."""

import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import click

from thorax.cli.options import ANY, MODEL, SERIES, echo
from thorax.common.errors import printable

if TYPE_CHECKING:
    from thorax.inference.batch import PredictOptions
    from thorax.inference.inputs import ScanTask
    from thorax.inference.manifest import Row
    from thorax.inference.segmenter import Segmenter


@click.command()
@click.argument("paths", nargs=-1, required=True, type=ANY, metavar="SCAN... MASK")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=ANY,
    help=f"An exported model, or the folder of a trained one; several make an ensemble. "
    f"[default: {MODEL}]",
)
@SERIES
@click.option(
    "--intensity",
    default="auto",
    show_default=True,
    metavar="TEXT",
    help="What voxel values mean: auto finds out; hu; hu+1024; or LOW,HIGH where 0..255 stand for "
    "that range of HU.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Probability from which on a voxel belongs to a region; the model's own unless given.",
)
@click.option(
    "--probabilities",
    is_flag=True,
    help="Also write the probability of each region, as MASK with the region in its name.",
)
@click.option(
    "--bits",
    type=click.Choice([8, 16]),
    default=8,
    show_default=True,
    help="Of each probability.",
)
@click.option("--statistics", is_flag=True, help="Also write volumes and the like as JSON.")
@click.option("--preview", is_flag=True, help="Also draw a picture: three planes and surfaces.")
@click.option(
    "--tta",
    is_flag=True,
    help="Segment shifted variants, too, and mirrored ones if the model was trained so, and take "
    "the mean: slower, and tells where they disagree.",
)
@click.option("--no-postprocessing", is_flag=True, help="Skip postprocessing.")
@click.option("--suffix", default="", help="Of masks in a folder, such as .nrrd.")
@click.option(
    "--engine",
    type=click.Choice(["openvino", "onnxruntime", "keras"]),
    help="What runs the network. Unless given: openvino for a file, keras for a folder.",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="What the engine runs on; auto is the CPU, but with keras a GPU if there is one.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32"]),
    default="auto",
    show_default=True,
    help="auto takes half precision where the hardware is made for it.",
)
@click.option("--force", is_flag=True, help="Write over files that are there.")
def predict(
    paths: tuple[Path, ...],
    models: tuple[Path, ...],
    **options: Any,
) -> None:
    """Segment chest CTs.

    A SCAN is NIfTI, NRRD, MetaImage, a folder or zip of DICOM files, a folder of scans at any
    depth, or a CSV with the columns scan and mask. MASK is a file for one scan, else a folder.
    Masks lie on the grid of their scan, with the label values of the masks that the model was
    trained on. In a folder, what is done is not done again, and manifest.csv tells what became of
    each scan, those to look at first at its top.

    \b
    Example:
      thorax predict ct.nii.gz lungs.nii.gz --preview
      thorax predict scans/ masks/ --statistics
    """
    _import_nibabel()
    from thorax.imaging.intensity import parse_intensity
    from thorax.inference.batch import PredictOptions
    from thorax.inference.inputs import find_tasks

    target = paths[-1] if len(paths) > 1 else None
    jobs = find_tasks(paths[:-1] if target else paths, target, suffix=options["suffix"])
    settings = PredictOptions(
        series=options["series"],
        domain=parse_intensity(options["intensity"]),
        threshold=options["threshold"],
        bits=options["bits"] if options["probabilities"] else 0,
        **{name: options[name] for name in ("statistics", "preview", "force")},
    )
    segmenter = _load(models or (MODEL,), options)
    if target and target == jobs[0].mask:
        _one(segmenter, jobs[0], settings)
    else:
        _many(segmenter, jobs, settings, folder=target or paths[0].parent)


def _import_nibabel() -> None:
    """Import nibabel without pydicom, which it would import for headers that no scan has.

    That is a fifth of a second of a command that takes two. Whatever reads DICOM imports it later.
    """
    if "pydicom" in sys.modules:
        return
    sys.modules["pydicom"] = cast(ModuleType, None)
    try:
        import nibabel  # noqa: F401
    finally:
        del sys.modules["pydicom"]


def _one(segmenter: "Segmenter", job: "ScanTask", settings: "PredictOptions") -> None:
    """Segment a scan into a named file."""
    from tqdm import tqdm

    from thorax.inference.batch import check_free, predict_one, wanted_outputs

    files = wanted_outputs(segmenter, job.mask, settings).files
    check_free(job, files, force=settings.force)
    watch = partial(tqdm, desc=printable(job.scan.name), unit="slab", leave=False, disable=None)
    _warn(predict_one(segmenter, job, settings, watch=watch))
    for path in files:
        echo(path)


def _many(
    segmenter: "Segmenter", jobs: "list[ScanTask]", settings: "PredictOptions", *, folder: Path
) -> None:
    """Segment scans into a folder, and write its manifest as it goes."""
    from tqdm import tqdm

    from thorax.inference.batch import predict_folder

    with tqdm(total=len(jobs), desc="predict", unit="scan", disable=None) as bar:

        def tell(row: "Row") -> None:
            bar.update()
            _warn(row, case=f"{row.case}: ")
            if not row.error:
                echo(row.mask)

        rows = predict_folder(segmenter, jobs, settings, folder=folder, tell=tell)
    failed = sum(row.status == "failed" for row in rows)
    echo(f"{len(rows) - failed} done, {failed} failed: {folder / 'manifest.csv'}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _warn(row: "Row", *, case: str = "") -> None:
    problems = [f"Error: {case}{row.error}"] if row.error else []
    checks = [f"Check: {case}{text}" for text in row.quality_warnings]
    expected = [f"Expected: {case}{name}: Dice {dice}" for name, dice in row.expected_dice.items()]
    for line in (*problems, *checks, *expected, *(f"Note: {case}{text}" for text in row.warnings)):
        echo(line, err=True)


def _load(models: Iterable[Path], options: dict[str, Any]) -> "Segmenter":
    from thorax.inference.segmenter import Segmenter, load

    running = {name: options[name] for name in ("engine", "device", "precision")}
    return Segmenter(
        [load(path, **running) for path in models],
        tta=options["tta"],
        postprocess=not options["no_postprocessing"],
    )
