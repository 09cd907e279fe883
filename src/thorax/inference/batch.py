"""Segmenting one scan after the other: reading, network and writing of different scans overlap."""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.parallel import one_blas_thread, prefetch
from thorax.imaging.intensity import LOWEST_HU, IntensityScale
from thorax.inference.inputs import ScanTask
from thorax.inference.manifest import DONE, FAILED, STARTED, Manifest, Row
from thorax.inference.measurements import volumes_ml
from thorax.inference.outputs import Bits, Outputs, Watch, outputs_of, write_outputs
from thorax.inference.segmenter import Segmenter
from thorax.io import Scan
from thorax.preprocessing.scan import PreprocessedScan

Note = Callable[[Row], None]


@dataclass(frozen=True)
class PredictOptions:
    """What is wanted of every scan.

    Args:
        series: Of several DICOM series, the one to read, by number or UID; None: the longest.
        domain: What voxel values mean; None: find out.
        threshold: Instead of the model's own.
        bits: Of the probabilities; 0: none are written.
        statistics: Whether to write them.
        preview: Whether to draw one.
        force: Whether to write over files that are there.
    """

    series: str | None = None
    domain: IntensityScale | None = None
    threshold: float | None = None
    bits: Bits = 0
    statistics: bool = False
    preview: bool = False
    force: bool = False


def predict_folder(
    segmenter: Segmenter,
    jobs: Sequence[ScanTask],
    options: PredictOptions,
    *,
    folder: Path,
    tell: Callable[[Row], None],
) -> list[Row]:
    """Segment scans into a folder; what is done is not done again.

    Args:
        segmenter: What finds the regions.
        jobs: What is to be done.
        options: What is wanted of every scan.
        folder: Where the manifest goes.
        tell: Is told what became of each scan.

    Returns:
        One row a scan, also of those that were done before.

    Raises:
        InputError: The manifest that is there cannot be read, none can be written, another batch
            is at work there, or two scans would write one file.
    """
    _check_apart(segmenter, jobs, options)
    manifest = Manifest(folder)

    def note(row: Row) -> None:
        manifest.add(row)
        if row.status != STARTED:
            tell(row)

    def is_left(job: ScanTask) -> bool:
        return _is_left(segmenter, job, options, manifest=manifest, note=note)

    with manifest.alone():
        try:
            predict_all(segmenter, list(filter(is_left, jobs)), options, note=note)
        finally:
            manifest.write()
    return [manifest.rows[job.case] for job in jobs]


def _check_apart(segmenter: Segmenter, jobs: Sequence[ScanTask], options: PredictOptions) -> None:
    """See that the files beside one mask are not those of another scan: `a_lung.nii.gz`."""
    owners: dict[Path, ScanTask] = {}
    for job in jobs:
        for path in wanted_outputs(segmenter, job.mask, options).files:
            other = owners.setdefault(Path(os.path.realpath(path)), job)
            if other is not job:
                raise InputError(
                    f"{other.scan} and {job.scan} would both write {path}; rename one, or give "
                    "them folders of their own"
                )


def _is_left(
    segmenter: Segmenter, job: ScanTask, options: PredictOptions, *, manifest: Manifest, note: Note
) -> bool:
    """Whether a scan is to be segmented; of one that is not, it is noted why."""
    asked, known = blank_row(segmenter, job, options), manifest.rows.get(job.case)
    files = wanted_outputs(segmenter, job.mask, options).files
    if known and not options.force and is_done(known, asked, files):
        note(known)
        return False
    try:
        # What this very batch had begun, it may write over.
        check_free(job, files, force=options.force or known is not None)
    except InputError as error:
        note(replace(asked, status=FAILED, error=str(error)))
        return False
    return True


def check_free(job: ScanTask, files: Sequence[Path], *, force: bool) -> None:
    """See whether the files of a scan may be written.

    Raises:
        InputError: One is the scan itself, or is there already.
    """
    there = [path for path in files if path.exists()]
    if any(job.scan.exists() and path.samefile(job.scan) for path in there):
        raise InputError(f"a mask must not take the place of its scan, got {job.scan} for both")
    if there and not force:
        names = ", ".join(map(str, there))
        raise InputError(f"{names} exists already; give --force to write over it")


@one_blas_thread
def predict_all(
    segmenter: Segmenter, jobs: Sequence[ScanTask], options: PredictOptions, *, note: Note
) -> list[Row]:
    """Segment all scans; one that fails is noted, and the others go on.

    The next scan is read while the network works on one.

    Args:
        segmenter: What finds the regions.
        jobs: What is to be done.
        options: What is wanted of every scan.
        note: Is told what became of each scan, and that it was begun.

    Returns:
        One row a scan.
    """
    rows = []
    begun = time.monotonic()
    for job, opened in prefetch(_opened(segmenter, jobs, options)):
        row = blank_row(segmenter, job, options)
        note(row)
        try:
            if not isinstance(opened, PreprocessedScan):
                raise opened
            row = _segment(segmenter, opened, row, options)
        except InputError as error:
            row = replace(row, status=FAILED, error=str(error))
        except Exception as error:  # a defect in one scan must not take the others along
            row = replace(row, status=FAILED, error=f"{type(error).__name__}: {error}")
        ended = time.monotonic()
        rows.append(replace(row, seconds=round(ended - begun, 2)))
        begun = ended
        note(rows[-1])
    return rows


@one_blas_thread
def predict_one(
    segmenter: Segmenter, job: ScanTask, options: PredictOptions, *, watch: Watch = iter
) -> Row:
    """Segment one scan.

    Raises:
        InputError: The scan cannot be read or segmented, or a file cannot be written.
    """
    opened = segmenter.open(_scan(job, options), domain=options.domain)
    return _segment(segmenter, opened, blank_row(segmenter, job, options), options, watch)


def wanted_outputs(segmenter: Segmenter, mask: Path, options: PredictOptions) -> Outputs:
    """The files that a scan will have."""
    return outputs_of(
        mask,
        segmenter.regions.names,
        bits=options.bits,
        statistics=options.statistics,
        preview=options.preview,
    )


def is_done(known: Row, asked: Row, files: Iterable[Path]) -> bool:
    """Whether a scan has all that is asked for, from the same model with the same settings."""
    return (
        known.status == DONE
        and (known.model, known.settings) == (asked.model, asked.settings)
        and (known.scan, known.mask) == (asked.scan, asked.mask)
        and all(path.exists() for path in files)
    )


def blank_row(segmenter: Segmenter, job: ScanTask, options: PredictOptions) -> Row:
    """What is known of a scan before it is read."""
    series = f"series {options.series}" if options.series else ""
    known = (options.domain or "auto", segmenter.settings, options.threshold or "", series)
    asked = (*known, _stamp(job.scan))
    settings = " ".join(str(each) for each in asked if each)
    return Row(job.case, STARTED, str(job.scan), str(job.mask), segmenter.digest, settings)


def _stamp(scan: Path) -> str:
    """Sizes and times of the files of a scan, so that another one under its name is another."""
    files = [path for path in scan.rglob("*") if path.is_file()] if scan.is_dir() else [scan]
    known = [path.stat() for path in files if path.exists()]
    size = sum(one.st_size for one in known)
    newest = max((one.st_mtime_ns for one in known), default=0)
    return f"{len(known)} files of {size} bytes, {newest}"


def _opened(
    segmenter: Segmenter, jobs: Iterable[ScanTask], options: PredictOptions
) -> Iterator[tuple[ScanTask, PreprocessedScan | Exception]]:
    for job in jobs:
        try:
            yield job, segmenter.open(_scan(job, options), domain=options.domain)
        except Exception as error:  # it is told where its row is
            yield job, error


def _scan(job: ScanTask, options: PredictOptions) -> Scan:
    return Scan(job.scan, series=options.series, nan=LOWEST_HU)


def _segment(
    segmenter: Segmenter,
    opened: PreprocessedScan,
    row: Row,
    options: PredictOptions,
    watch: Watch = iter,
) -> Row:
    found = segmenter.find(opened, threshold=options.threshold)
    outputs = wanted_outputs(segmenter, Path(row.mask), options)
    statistics = write_outputs(found, outputs, watch=watch)
    qualities = zip(found.regions.names, found.quality, strict=True)
    return replace(
        row,
        status=DONE,
        intensity=opened.recognised.kind,
        volumes_ml={name: round(volume, 3) for name, volume in volumes_ml(statistics).items()},
        certainty={name: _rounded(quality.certainty) for name, quality in qualities},
        expected_dice=found.expected_dice,
        quality_warnings=found.warnings(statistics),
        warnings=(*opened.notes, *found.notes),
    )


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)
