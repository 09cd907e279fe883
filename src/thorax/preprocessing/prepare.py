"""From a dataset to records: cases in parallel processes, what did not change left as it is."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.files import file_sha256
from thorax.common.machine import cores
from thorax.common.parallel import worker_pool
from thorax.common.params import Crop
from thorax.datasets.dataset import Case, Dataset
from thorax.imaging.grid import check_same_grid
from thorax.imaging.overlap import Overlap
from thorax.imaging.regions import Regions
from thorax.io import Scan
from thorax.preprocessing.canvas import find_placement, place_regions, place_scan
from thorax.preprocessing.index import RecordEntry, RecordIndex, load_index, save_index
from thorax.preprocessing.records import SUFFIX, CaseRecord, write_record

FORM = 1
"""Raise this when the same scan and mask give another record than before, so that records of an
older program are written again. A test holds the digest of one."""


@dataclass(frozen=True)
class Settings:
    """How all records of a dataset are made.

    Args:
        regions: What the masks show.
        canvas: Pixels a side of the canvas.
        crop: How the planes are cropped before they are scaled.
    """

    regions: Regions
    canvas: int
    crop: Crop


def prepare(
    dataset: Dataset, folder: Path, *, canvas: int, crop: Crop, workers: int | None = None
) -> RecordIndex:
    """Write one record a case, and the index last.

    A record is written again only if its scan, its mask, its domain or the settings changed, or
    if the file is not the one that the index of the last run tells of. Patients and sites stand
    in the index alone.

    Args:
        dataset: The cases.
        folder: Where records and index go. Records of cases that are gone are removed.
        canvas: Pixels a side of the canvas.
        crop: ``body`` or ``none``.
        workers: Parallel processes; as many as there are cores unless given.

    Raises:
        InputError: A case is unusable; the message names it.
    """
    settings = Settings(dataset.regions, canvas, crop)
    known = _known(folder, dataset, settings)
    work = partial(prepare_case, folder=folder, settings=settings)
    # Each process is told of its own case alone: what is known of all would be sent with each.
    cases = [(case, known.get(case.name)) for case in dataset.cases]
    entries = _in_parallel(work, cases, workers or cores())
    index = _index(dataset, settings, sorted(entries, key=lambda entry: entry.case))
    _forget(folder, index)
    save_index(folder, index)
    return index


def prepare_case(
    case: Case, old: RecordEntry | None, *, folder: Path, settings: Settings
) -> RecordEntry:
    """Write the record of one case, unless the one that is there is right.

    Args:
        case: The case.
        old: What the last run made of it; None if there was none, or with other settings.
        folder: Where the record goes.
        settings: How it is made.

    Raises:
        InputError: The scan or the mask is unusable; the message names the case.
    """
    path = folder / f"{case.name}{SUFFIX}"
    digests = file_sha256(case.scan), file_sha256(case.mask)
    if old and _unchanged(old, case, digests) and _is_whole(path, old):
        return replace(old, patient=case.patient, site=case.site)
    try:
        planes, ceiling = _place(case, path, settings)
    except InputError as error:
        raise InputError(f"case `{case.name}`: {error}") from None
    return RecordEntry(
        case=case.name,
        patient=case.patient,
        site=case.site,
        planes=planes,
        scan_sha256=digests[0],
        mask_sha256=digests[1],
        intensity=str(case.domain),
        record_sha256=file_sha256(path),
        ceiling=ceiling,
    )


def _place(case: Case, path: Path, settings: Settings) -> tuple[int, dict[str, Overlap]]:
    scan = Scan(case.scan)
    mask = check_same_grid(Scan(case.mask), scan)
    placement = find_placement(scan, case.domain, canvas=settings.canvas, crop=settings.crop)
    planes = place_scan(scan, case.domain, placement)
    fractions, ceiling = place_regions(mask, settings.regions, placement)
    write_record(path, CaseRecord(planes, fractions))
    return len(planes), ceiling


def _is_whole(path: Path, entry: RecordEntry) -> bool:
    return path.is_file() and file_sha256(path) == entry.record_sha256


def _unchanged(old: RecordEntry, case: Case, digests: tuple[str, str]) -> bool:
    made_from = old.scan_sha256, old.mask_sha256, old.intensity
    return made_from == (*digests, str(case.domain))


def _known(folder: Path, dataset: Dataset, settings: Settings) -> dict[str, RecordEntry]:
    try:
        old = load_index(folder)
    except InputError:
        return {}
    same = _index(dataset, settings, old.records) == old
    return {entry.case: entry for entry in old.records} if same else {}


def _index(dataset: Dataset, settings: Settings, entries: Iterable[RecordEntry]) -> RecordIndex:
    return RecordIndex(
        form=FORM,
        dataset=dataset.name,
        canvas=settings.canvas,
        crop=settings.crop,
        regions=dict(settings.regions.labels),
        ignored=settings.regions.ignored,
        records=tuple(entries),
    )


def _forget(folder: Path, index: RecordIndex) -> None:
    kept = {f"{entry.case}{SUFFIX}" for entry in index.records}
    for path in folder.glob(f"*{SUFFIX}"):
        if path.name not in kept:
            path.unlink()


def _in_parallel(
    work: Callable[[Case, RecordEntry | None], RecordEntry],
    cases: Sequence[tuple[Case, RecordEntry | None]],
    workers: int,
) -> list[RecordEntry]:
    with worker_pool(min(workers, len(cases))) as pool:
        running = [pool.submit(work, *case) for case in cases]
        try:
            with tqdm(as_completed(running), total=len(cases), desc="prepare", unit="case") as done:
                return [future.result() for future in done]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
