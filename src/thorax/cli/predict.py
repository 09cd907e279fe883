"""`thorax predict`."""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import click

from thorax.cli.options import ANY_PATH, OPEN_SHARE, SERIES, echo
from thorax.common.errors import printable

if TYPE_CHECKING:
    from thorax.inference.batch import PredictOptions
    from thorax.inference.inputs import ScanTask
    from thorax.inference.manifest import ManifestRow
    from thorax.inference.segmenter import Segmenter


@click.command()
@click.argument("paths", nargs=-1, required=True, type=ANY_PATH, metavar="SCAN... [MASK]")
@click.option(
    "--model",
    "models",
    multiple=True,
    type=ANY_PATH,
    help="Name of a packaged model, exported model, or folder of a trained model. Give several to "
    "average them.  [default: lungs, a general model]",
)
@SERIES
@click.option(
    "--list-series",
    is_flag=True,
    help="List the DICOM series in SCAN, and segment nothing.",
)
@click.option(
    "--allow-incomplete",
    is_flag=True,
    help="Segment DICOM series that lack more than a tenth of their slices, too.",
)
@click.option(
    "--intensity",
    default="auto",
    show_default=True,
    metavar="TEXT",
    help="Meaning of the voxel values: auto (detect), hu, hu+1024, or LOW,HIGH (8-bit images: the "
    "HU of 0 and of 255).",
)
@click.option(
    "--threshold",
    type=OPEN_SHARE,
    help="Probability threshold for a voxel to belong to a region.  [default: the model's]",
)
@click.option(
    "--probabilities",
    is_flag=True,
    help="Also write a probability map of each region, named MASK_REGION.",
)
@click.option(
    "--bits",
    type=click.Choice([8, 16]),
    default=8,
    show_default=True,
    help="Bits per voxel of the probability maps.",
)
@click.option(
    "--statistics",
    is_flag=True,
    help="Also write volume, density and extent of each region as JSON.",
)
@click.option(
    "--preview", is_flag=True, help="Also write a picture: three slices and the surfaces."
)
@click.option(
    "--all-frames",
    is_flag=True,
    help="Write all frames of DICOM segmentations (.dcm), also those without a voxel of their "
    "region.",
)
@click.option(
    "--tta",
    is_flag=True,
    help="Test-time augmentation: average over shifted copies, and mirrored ones if the model was "
    "trained with mirroring. Slower; warns where the copies disagree.",
)
@click.option("--no-postprocessing", is_flag=True, help="Do not remove fragments or fill holes.")
@click.option(
    "--suffix",
    default="",
    help="Suffix of masks in a folder, for example .nrrd.  [default: that of the scan]",
)
@click.option(
    "--engine",
    type=click.Choice(["openvino", "onnxruntime", "keras"]),
    help="Engine that runs the network.  [default: openvino for a file, or onnxruntime if it is "
    "not installed; keras for a folder]",
)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "gpu"]),
    default="auto",
    show_default=True,
    help="Device of the engine; auto is the CPU, except that keras uses a GPU if there is one.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32"]),
    default="auto",
    show_default=True,
    help="Numeric precision; auto uses half precision if the hardware supports it.",
)
@click.option("--force", is_flag=True, help="Overwrite existing files.")
def predict(
    paths: tuple[Path, ...],
    models: tuple[Path, ...],
    **options: Any,
) -> None:
    """Segment chest CT scans.

    SCAN is a NIfTI, NRRD or MetaImage file, either file of a NIfTI or Analyze pair, a folder, zip
    or file of a DICOM series, a folder of scans at any depth, or a CSV with the columns scan and
    mask (then without MASK). The content of a file decides, not its suffix. MASK is a file for a
    single scan, otherwise a folder. Masks are on the grid of their scan, with the label values that
    the model was trained on. For DICOM scans, a MASK that ends in .dcm is a DICOM segmentation, and
    one that ends in .rtss.dcm a structure set (RTSTRUCT).

    In a folder, finished scans are skipped. manifest.csv lists every scan with status, volumes and
    quality warnings; scans that need review come first.

    \b
    Example:
      thorax predict ct.nii.gz lungs.nii.gz --preview
      thorax predict scans/ masks/ --statistics
    """
    if options["list_series"]:
        _list_series(paths, options["series"])
        return
    _import_nibabel()
    from thorax.imaging.intensity import parse_intensity
    from thorax.inference.batch import PredictOptions
    from thorax.inference.inputs import find_tasks

    target = paths[-1] if len(paths) > 1 else None
    tasks = find_tasks(paths[:-1] if target else paths, target, suffix=options["suffix"])
    settings = PredictOptions(
        series=options["series"],
        allow_incomplete=options["allow_incomplete"],
        intensity=parse_intensity(options["intensity"]),
        threshold=options["threshold"],
        bits=options["bits"] if options["probabilities"] else 0,
        **{name: options[name] for name in ("statistics", "preview", "all_frames", "force")},
    )
    segmenter = _load(models, options)
    if target and target == tasks[0].mask:
        _predict_file(segmenter, tasks[0], settings)
    else:
        _predict_folder(segmenter, tasks, settings, folder=target or paths[0].parent)


def _list_series(paths: Iterable[Path], series: str | None) -> None:
    from thorax.common.tables import aligned
    from thorax.io import list_series

    for path in paths:
        rows = [asdict(info) for info in list_series(path, series=series)]
        echo(aligned(rows, rows[0]))


def _import_nibabel() -> None:
    """Import nibabel without pydicom, which would import `requests` and take 0.2 s.

    The DICOM reader imports pydicom itself.
    """
    if "pydicom" in sys.modules:
        return
    sys.modules["pydicom"] = cast(ModuleType, None)
    try:
        import nibabel  # noqa: F401
    finally:
        del sys.modules["pydicom"]


def _predict_file(segmenter: "Segmenter", task: "ScanTask", settings: "PredictOptions") -> None:
    """Segment one scan into a mask file."""
    from tqdm import tqdm

    from thorax.inference.batch import check_overwrite, predict_one, task_outputs

    files = task_outputs(segmenter, task.mask, settings).files
    check_overwrite(task, files, force=settings.force)
    progress = partial(tqdm, desc=printable(task.scan.name), unit="slab", leave=False, disable=None)
    _report(predict_one(segmenter, task, settings, progress=progress))
    for path in files:
        echo(path)


def _predict_folder(
    segmenter: "Segmenter", tasks: "list[ScanTask]", settings: "PredictOptions", *, folder: Path
) -> None:
    """Segment scans into a folder and write the manifest."""
    from tqdm import tqdm

    from thorax.inference.batch import predict_folder

    with tqdm(total=len(tasks), desc="predict", unit="scan", disable=None) as bar:

        def report(row: "ManifestRow") -> None:
            bar.update()
            _report(row, prefix=f"{row.case}: ")
            if not row.error:
                echo(row.mask)

        rows = predict_folder(segmenter, tasks, settings, folder=folder, report=report)
    failed = sum(row.status == "failed" for row in rows)
    echo(f"{len(rows) - failed} done, {failed} failed: {folder / 'manifest.csv'}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _report(row: "ManifestRow", *, prefix: str = "") -> None:
    """Print the messages of a scan on stderr."""
    expected_dice = (f"{name}: Dice {dice}" for name, dice in row.expected_dice.items())
    messages = {
        "Error": (row.error,) if row.error else (),
        "Check": row.quality_warnings,
        "Expected": expected_dice,
        "Note": row.warnings,
    }
    for kind, texts in messages.items():
        for text in texts:
            echo(f"{kind}: {prefix}{text}", err=True)


def _load(models: Sequence[Path], options: dict[str, Any]) -> "Segmenter":
    from thorax.inference.segmenter import Segmenter, load
    from thorax.models.packaged import DEFAULT_MODEL, find_model

    engine_options = {name: options[name] for name in ("engine", "device", "precision")}
    segmenter = Segmenter(
        [load(find_model(model), **engine_options) for model in models or (DEFAULT_MODEL,)],
        tta=options["tta"],
        postprocess=not options["no_postprocessing"],
    )
    if not models:
        echo(
            f"Note: the model is `{DEFAULT_MODEL}` of thorax {version('thorax')} (SHA-256 "
            f"{segmenter.digest}), a general model; --model names another",
            err=True,
        )
    return segmenter
