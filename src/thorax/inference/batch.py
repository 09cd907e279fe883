"""Segment scans one after another; reading, network and writing of different scans overlap."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from thorax.common.errors import InputError
from thorax.common.machine import return_freed_memory
from thorax.common.parallel import one_blas_thread, prefetch
from thorax.common.text import rounded
from thorax.imaging.intensity import IntensityScale
from thorax.inference.inputs import ScanTask, check_overwrite, open_scan
from thorax.inference.manifest.files import Manifest
from thorax.inference.manifest.merge import store_scans
from thorax.inference.manifest.parts import Part
from thorax.inference.manifest.row import DONE, FAILED, STARTED, ManifestRow
from thorax.inference.outputs import Bits, Outputs, Progress, name_outputs, write_outputs
from thorax.inference.resume import is_finished, remove_outdated, with_files, written_before
from thorax.inference.scan_folders import real_path
from thorax.inference.scan_on_disk import scan_stamp
from thorax.inference.segmenter import Segmenter
from thorax.models.engines import Device, EngineName, Precision
from thorax.preprocessing.examination import ExaminedScan, examine_scan
from thorax.preprocessing.scan import PreprocessedScan

Report = Callable[[ManifestRow], None]


@dataclass(frozen=True)
class PredictOptions:
    """Options that are the same for all scans.

    Args:
        series: DICOM series to read, by number or UID; None: the original axial one with the most
            slices.
        allow_incomplete: Accept DICOM series that lack more than a tenth of their slices.
        intensity: Meaning of the voxel values; None: detect it.
        threshold: Probability threshold; None: that of the model.
        bits: Bits per probability; 0: probabilities are not written.
        statistics: Write statistics.
        preview: Write a preview picture.
        all_frames: Write frames of DICOM segmentations without a voxel of their region, too.
        force: Overwrite existing files.
        engine: Engine that the user has chosen; as device and precision, part of the settings only.
        device: Device that the user has chosen.
        precision: Precision that the user has chosen.
    """

    series: str | None = None
    allow_incomplete: bool = False
    intensity: IntensityScale | None = None
    threshold: float | None = None
    bits: Bits = 0
    statistics: bool = False
    preview: bool = False
    all_frames: bool = False
    force: bool = False
    engine: EngineName | None = None
    device: Device = "auto"
    precision: Precision = "auto"


class SegmentAll(Protocol):
    """Segments scans and reports each one when it is started and when it is finished."""

    def __call__(
        self,
        segmenter: Segmenter,
        tasks: Sequence[ScanTask],
        options: PredictOptions,
        *,
        report: Report,
    ) -> list[ManifestRow]:
        """Return one row per scan."""


def predict_folder(
    segmenter: Segmenter,
    tasks: Sequence[ScanTask],
    options: PredictOptions,
    *,
    folder: Path,
    report: Report,
    segment: SegmentAll | None = None,
    part: Part | None = None,
) -> list[ManifestRow]:
    """Segment scans and write a manifest; finished scans are skipped.

    A part of the scans writes a log only; see `thorax.inference.manifest.merge`.

    Args:
        segmenter: The model or ensemble.
        tasks: The scans.
        options: Options for all scans.
        folder: Folder of the manifest.
        report: Called with the row of each scan that is finished, failed or skipped.
        segment: Segments the scans that are not finished; `predict_all` by default.
        part: The part of the scans to segment; None: all.

    Returns:
        One row per scan of the part, also for skipped ones.

    Raises:
        InputError: The existing manifest cannot be read, the new one cannot be written, another
            batch is running in the folder, or two scans have the same output file.
    """
    manifest = Manifest(folder, part)
    _check_distinct(segmenter, tasks, options, manifest)
    if part:
        store_scans(folder, tasks)
        tasks = part.select(tasks)
    tasks = [replace(task, stamp=scan_stamp(task.scan, task.mask)) for task in tasks]

    earlier: dict[str, ManifestRow] = {}

    def record(row: ManifestRow) -> None:
        files = task_outputs(segmenter, Path(row.mask), options).files
        row = remove_outdated(row, files, earlier.get(row.case))
        row = with_files(row, files, earlier.get(row.case))
        manifest.add(row)
        if row.status != STARTED:
            report(row)

    def is_pending(task: ScanTask) -> bool:
        row = _first_row(segmenter, task, options, earlier=earlier.get(task.case))
        if row.status == DONE:
            manifest.add(row)
            report(row)
        elif row.status == FAILED:
            record(row)
        return row.status == STARTED

    with manifest.exclusive():
        earlier |= manifest.rows
        try:
            (segment or predict_all)(
                segmenter, list(filter(is_pending, tasks)), options, report=record
            )
        finally:
            manifest.write()
    return [manifest.rows[task.case] for task in tasks]


def _check_distinct(
    segmenter: Segmenter, tasks: Sequence[ScanTask], options: PredictOptions, manifest: Manifest
) -> None:
    """Refuse scans with a common output file: `a_lung.nii.gz` may be a mask and a probability."""
    tables = {real_path(path) for path in manifest.files.tables}
    owners: dict[Path, ScanTask] = {}
    for task in tasks:
        for path in task_outputs(segmenter, task.mask, options).files:
            if real_path(path) in tables:
                raise InputError(
                    f"{path} lists the scans of the folder, but {task.scan} would write it, too; "
                    "rename the scan"
                )
            owner = owners.setdefault(real_path(path), task)
            if owner is not task:
                raise InputError(
                    f"two scans cannot have the same output, but {owner.scan} and {task.scan} "
                    f"would both write {path}; rename one, or use separate folders"
                )


def _first_row(
    segmenter: Segmenter,
    task: ScanTask,
    options: PredictOptions,
    *,
    earlier: ManifestRow | None,
) -> ManifestRow:
    """Return the row of a scan that is finished, must not be written, or else is to be started."""
    row = started_row(segmenter, task, options)
    files = task_outputs(segmenter, task.mask, options).files
    if earlier and not options.force and is_finished(earlier, row, files):
        return earlier
    try:
        own = written_before(earlier, files)
        check_overwrite(task, files, force=options.force, replaceable=own)
    except InputError as error:
        return replace(row, status=FAILED, error=str(error))
    return row


@one_blas_thread
def predict_all(
    segmenter: Segmenter, tasks: Sequence[ScanTask], options: PredictOptions, *, report: Report
) -> list[ManifestRow]:
    """Segment all scans; a scan that fails is reported and does not stop the others.

    The next scan is read while the network processes the current one.

    Args:
        segmenter: The model or ensemble.
        tasks: The scans.
        options: Options for all scans.
        report: Called with the row of each scan, when it is started and when it is finished.

    Returns:
        One row per scan.
    """
    rows = []
    start = time.monotonic()
    for task, preprocessed in prefetch(_preprocessed(segmenter, tasks, options)):
        row = started_row(segmenter, task, options)
        report(row)
        try:
            if not isinstance(preprocessed, PreprocessedScan):
                raise preprocessed
            row = _segment(segmenter, preprocessed, row, options)
        except InputError as error:
            row = replace(row, status=FAILED, error=str(error))
        except Exception as error:  # a defect in one scan must not stop the others
            row = replace(row, status=FAILED, error=f"{type(error).__name__}: {error}")
        end = time.monotonic()
        rows.append(replace(row, seconds=round(end - start, 2)))
        start = end
        report(rows[-1])
    return rows


@one_blas_thread
def predict_one(
    segmenter: Segmenter,
    task: ScanTask,
    options: PredictOptions,
    *,
    scan: ExaminedScan,
    progress: Progress = iter,
) -> ManifestRow:
    """Segment one scan.

    Args:
        segmenter: The model or ensemble.
        task: The scan and its mask.
        options: Options.
        scan: The scan, examined.
        progress: Wraps the slabs of the mask, for instance in a progress bar.

    Raises:
        InputError: The scan cannot be read or segmented, or a file cannot be written.
    """
    preprocessed = segmenter.preprocess(scan, whole=options.preview)
    return _segment(
        segmenter, preprocessed, started_row(segmenter, task, options), options, progress
    )


def task_outputs(segmenter: Segmenter, mask: Path, options: PredictOptions) -> Outputs:
    """Return the output files of the scan with this mask."""
    return name_outputs(
        mask,
        segmenter.regions.names,
        bits=options.bits,
        statistics=options.statistics,
        preview=options.preview,
        all_frames=options.all_frames,
    )


def started_row(segmenter: Segmenter, task: ScanTask, options: PredictOptions) -> ManifestRow:
    """Return the row of a scan before it is read."""
    parts = (
        options.intensity or "auto",
        segmenter.settings,
        options.threshold or "",
        f"series {options.series}" if options.series else "",
        "all frames" if options.all_frames else "",
        options.engine or "",
        *(name for name in (options.device, options.precision) if name != "auto"),
        task.stamp or scan_stamp(task.scan, task.mask),
    )
    settings = " ".join(str(part) for part in parts if part)
    return ManifestRow(
        task.case,
        STARTED,
        str(task.scan),
        str(task.mask),
        segmenter.digest,
        settings,
        bits=options.bits,
    )


def _preprocessed(
    segmenter: Segmenter, tasks: Iterable[ScanTask], options: PredictOptions
) -> Iterator[tuple[ScanTask, PreprocessedScan | Exception]]:
    for task in tasks:
        try:
            scan = open_scan(task, series=options.series, allow_incomplete=options.allow_incomplete)
            examined = examine_scan(scan, options.intensity)
            yield task, segmenter.preprocess(examined, whole=options.preview)
        except Exception as error:  # raised again in the turn of this scan
            yield task, error


def _segment(
    segmenter: Segmenter,
    preprocessed: PreprocessedScan,
    row: ManifestRow,
    options: PredictOptions,
    progress: Progress = iter,
) -> ManifestRow:
    prediction = segmenter.predict(preprocessed, threshold=options.threshold)
    outputs = task_outputs(segmenter, Path(row.mask), options)
    return_freed_memory()
    statistics = write_outputs(prediction, outputs, progress=progress, last=True)
    return replace(
        row,
        status=DONE,
        intensity=preprocessed.intensity.kind,
        volumes_ml={name: round(ml, 3) for name, ml in statistics.volumes_ml.items()},
        certainty={
            name: rounded(scores.certainty, 4)
            for name, scores in prediction.quality_by_region.items()
        },
        expected_dice=prediction.expected_dice,
        quality_warnings=statistics.quality_warnings,
        warnings=(*preprocessed.notes, *prediction.notes, *statistics.notes),
    )
