"""`thorax predict`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import asdict, fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from thorax.cli.fast_imports import import_nibabel, import_scipy, omit_openvino_converter
from thorax.cli.options import ANY_PATH, CLUSTER, OPEN_SHARE, SERIES, echo
from thorax.common.errors import InputError, printable

if TYPE_CHECKING:
    from thorax.inference.batch import PredictOptions, SegmentAll
    from thorax.inference.inputs import ScanTask
    from thorax.inference.manifest.parts import Part
    from thorax.inference.manifest.row import ManifestRow
    from thorax.inference.segmenter import Segmenter

SWITCH_INTERVAL = 2e-4
"""Seconds after which a thread gives way to another one. With Python's 5 ms, a file is decompressed
six times more slowly while packages are imported."""


_MODEL_OPTIONS = ("engine", "device", "precision", "tta", "no_postprocessing")


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
    help="Suffix of masks in a folder, for example .nrrd.  [default: that of the scan; .nii.gz if "
    "masks cannot have it, as for DICOM]",
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
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Processes that segment the scans of a folder at the same time and share the cores. Each "
    "needs as much memory as one scan.",
)
@click.option(
    "--part",
    metavar="K/N",
    help="Segment only every N-th scan of a folder, from the K-th, so that N machines share the "
    "scans; `thorax manifest MASK` merges their results.  [default: in an array of jobs, from the "
    "variables of SLURM, PBS, Grid Engine, LSF, AWS Batch or Kubernetes]",
)
@CLUSTER
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
    _check_cluster(options["cluster"])
    from thorax.common.machine import share_freed_memory

    sys.setswitchinterval(SWITCH_INTERVAL)
    share_freed_memory()
    omit_openvino_converter()
    import_nibabel()
    from thorax.imaging.intensity import parse_intensity
    from thorax.inference.inputs import find_tasks

    intensity = parse_intensity(options["intensity"])
    target = paths[-1] if len(paths) > 1 else None
    tasks = find_tasks(paths[:-1] if target else paths, target, suffix=options["suffix"])
    options = options | {"models": models, "intensity": intensity}
    if target and target == tasks[0].mask:
        for name in ("cluster", "part"):
            if options[name]:
                raise InputError(f"--{name} needs a folder for the masks, got the file {target}")
        _predict_file(tasks[0], options)
    else:
        _predict_folder(tasks, options, folder=target or paths[0].parent)


def _check_cluster(cluster: str | None) -> None:
    """Refuse `--cluster` with `--workers`, and check its value before scans are looked for."""
    if cluster is None:
        return
    source = click.get_current_context().get_parameter_source("workers")
    if source is not click.core.ParameterSource.DEFAULT:
        raise InputError(
            "--workers is the number of local processes and cannot be used with --cluster; give "
            "the number of workers in the YAML file, or omit one of them"
        )
    from thorax.common.cluster.opening import check_cluster

    check_cluster(cluster)


def _settings(options: dict[str, Any]) -> "PredictOptions":
    from thorax.inference.batch import PredictOptions

    given = {field.name: options[field.name] for field in fields(PredictOptions)}
    return PredictOptions(**given | ({} if options["probabilities"] else {"bits": 0}))


def _list_series(paths: Iterable[Path], series: str | None) -> None:
    from thorax.common.tables import aligned
    from thorax.io import list_series

    for path in paths:
        rows = [asdict(info) for info in list_series(path, series=series)]
        echo(aligned(rows, rows[0]))


def _predict_file(task: "ScanTask", options: dict[str, Any]) -> None:
    """Segment one scan into a mask file.

    The scan is read while packages are imported, and examined while the model is loaded.
    """
    from thorax.inference.inputs import check_overwrite, open_scan

    reading = {name: options[name] for name in ("series", "allow_incomplete")}
    check_overwrite(task, [task.mask], force=options["force"])
    with ThreadPoolExecutor(1) as pool, closing(open_scan(task, **reading)) as cached:
        cached.begin()
        import_scipy()
        from thorax.preprocessing.examination import examine_scan

        examined = pool.submit(examine_scan, cached, options["intensity"])
        if options["preview"]:
            # Importing matplotlib takes as long as the network, which runs at the same time.
            pool.submit(import_module, "thorax.inference.preview")
        from tqdm import tqdm

        from thorax.inference.batch import predict_one, task_outputs

        segmenter, settings = _load(options), _settings(options)
        files = task_outputs(segmenter, task.mask, settings).files
        check_overwrite(task, files, force=settings.force)
        name = printable(task.scan.name)
        progress = partial(tqdm, desc=name, unit="slab", leave=False, disable=None)
        scan = examined.result()
        _report(predict_one(segmenter, task, settings, scan=scan, progress=progress))
    for path in files:
        echo(path)


def _predict_folder(tasks: "list[ScanTask]", options: dict[str, Any], *, folder: Path) -> None:
    """Segment scans into a folder and write the manifest."""
    import_scipy()
    from tqdm import tqdm

    from thorax.inference.batch import predict_folder

    part = _part(options, scans=len(tasks))
    segmenter, settings = _load(options), _settings(options)
    selected = part.select(tasks) if part else tasks
    if part:
        source = f" ({part.source})" if part.source else ""
        echo(f"part {part}{source}: {len(selected)} of {len(tasks)} scans", err=True)
    with (
        _parallel(options) as segment,
        tqdm(total=len(selected), desc="predict", unit="scan", disable=None) as bar,
    ):

        def report(row: "ManifestRow") -> None:
            bar.update()
            _report(row, prefix=f"{row.case}: ")
            if not row.error:
                echo(row.mask)

        rows = predict_folder(
            segmenter, tasks, settings, folder=folder, report=report, segment=segment, part=part
        )
    failed = sum(row.status == "failed" for row in rows)
    table = f"`thorax manifest {folder}` merges the parts" if part else folder / "manifest.csv"
    echo(f"{len(rows) - failed} done, {failed} failed: {table}", err=True)
    if failed:
        raise click.exceptions.Exit(1)


def _part(options: dict[str, Any], *, scans: int) -> "Part | None":
    """Return the part of the scans to segment; None for all."""
    from thorax.inference.manifest.parts import parse_part, part_of_array

    if options["part"]:
        part: Part | None = parse_part(options["part"])
    else:
        # In an array, a task that names one scan has a scan of its own.
        part = part_of_array() if scans > 1 and not options["cluster"] else None
    return part if part and part.count > 1 else None


@contextmanager
def _parallel(options: dict[str, Any]) -> "Iterator[SegmentAll | None]":
    """Return what segments scans in other processes; None: this process does."""
    if options["cluster"]:
        from thorax.common.cluster.opening import open_cluster
        from thorax.inference.cluster import predict_on_cluster

        models = _absolute(options["models"])
        load = partial(_open, {name: options[name] for name in _MODEL_OPTIONS} | {"models": models})
        with open_cluster(options["cluster"], note=_note) as cluster:
            yield partial(predict_on_cluster, cluster=cluster, load=load)
    elif options["workers"] > 1:
        from thorax.inference.workers import predict_in_processes

        load = partial(_open, options)
        yield partial(predict_in_processes, workers=options["workers"], load=load)
    else:
        yield None


def _absolute(models: Sequence[Path]) -> list[Path]:
    """Return models by paths that are valid in any working directory; packaged ones by name."""
    from thorax.models.packaged import find_model

    return [model.absolute() if find_model(model) == model else model for model in models]


def _note(text: str) -> None:
    """Print a note above the progress bar."""
    from tqdm import tqdm

    with tqdm.external_write_mode(sys.stderr):
        echo(f"Note: {text}", err=True)


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


def _load(options: dict[str, Any]) -> "Segmenter":
    """Load the model, and name it if it is the default one."""
    from thorax.models.packaged import DEFAULT_MODEL

    segmenter = _open(options)
    if not options["models"]:
        from importlib.metadata import version

        echo(
            f"Note: the model is `{DEFAULT_MODEL}` of thorax {version('thorax')} (SHA-256 "
            f"{segmenter.digest}), a general model; --model names another",
            err=True,
        )
    return segmenter


def _open(options: dict[str, Any]) -> "Segmenter":
    from thorax.inference.segmenter import Segmenter, load
    from thorax.models.packaged import DEFAULT_MODEL, find_model

    models: Sequence[Path] = options["models"]
    engine_options = {name: options[name] for name in ("engine", "device", "precision")}
    return Segmenter(
        [load(find_model(model), **engine_options) for model in models or (DEFAULT_MODEL,)],
        tta=options["tta"],
        postprocess=not options["no_postprocessing"],
    )
