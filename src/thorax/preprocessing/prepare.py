"""Convert a dataset to records, in parallel processes; unchanged records are kept."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path

from thorax.common.crop import Crop
from thorax.common.errors import InputError
from thorax.common.files import file_sha256
from thorax.common.parallel import in_processes
from thorax.common.params import SyntheticParams
from thorax.datasets.dataset import Case, Dataset
from thorax.imaging.grid import check_same_grid
from thorax.imaging.overlap import Overlap
from thorax.io import Scan
from thorax.preprocessing.additional import additional_records
from thorax.preprocessing.canvas import find_placement, place_regions, place_scan
from thorax.preprocessing.index import RecordEntry, RecordIndex, load_index, save_index
from thorax.preprocessing.record_settings import RecordSettings
from thorax.preprocessing.records import SUFFIX, CaseRecord, write_record

FORMAT_VERSION = 1
"""Increase this if the format of the records changes; those of an older version are then written
again."""


def prepare(
    dataset: Dataset,
    folder: Path,
    *,
    canvas: int,
    crop: Crop,
    synthetic: SyntheticParams | None = None,
    reuse: bool = True,
    workers: int | None = None,
) -> RecordIndex:
    """Write one record per case and the additional records, then the index.

    A record is kept if its scan, mask, intensity scale and settings are unchanged, and its digest
    is that in the index of the last run. Patients and sites are only in the index.

    Args:
        dataset: The cases.
        folder: Folder of records and index. Records of removed cases are deleted.
        canvas: Pixels per side of the canvas.
        crop: ``lungs``, ``body`` or ``none``.
        synthetic: Synthetic chests and copies to add; they are always written anew.
        reuse: Keep records as described; false if other code may have written them.
        workers: Parallel processes; default: number of cores.

    Raises:
        InputError: A case is unusable; the message names it.
    """
    settings = RecordSettings(dataset.regions, canvas, crop)
    previous = _previous_entries(folder, dataset, settings) if reuse else {}
    # Only the entry of the case itself is sent to its process, not the whole index.
    calls = [
        partial(prepare_case, case, previous.get(case.name), folder=folder, settings=settings)
        for case in dataset.cases
    ]
    entries = in_processes(calls, title="prepare", size=workers)
    additional = (
        additional_records(dataset, synthetic, folder, settings, workers=workers)
        if synthetic
        else []
    )
    index = replace(
        _build_index(dataset, settings, sorted(entries, key=lambda entry: entry.case)),
        additional=tuple(additional),
    )
    _remove_stale(folder, index)
    save_index(folder, index)
    return index


def prepare_case(
    case: Case, old: RecordEntry | None, *, folder: Path, settings: RecordSettings
) -> RecordEntry:
    """Write the record of one case, unless the existing one is up to date.

    Args:
        case: The case.
        old: Its entry in the last index; None if it has none, or if the settings changed.
        folder: Folder of the records.
        settings: Settings of the record.

    Raises:
        InputError: The scan or the mask is unusable; the message names the case.
    """
    path = folder / f"{case.name}{SUFFIX}"
    digests = file_sha256(case.scan), file_sha256(case.mask)
    if old and _unchanged(old, case, digests) and _is_intact(path, old):
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
        intensity=str(case.intensity),
        record_sha256=file_sha256(path),
        ceiling=ceiling,
    )


def _place(case: Case, path: Path, settings: RecordSettings) -> tuple[int, dict[str, Overlap]]:
    scan = Scan(case.scan)
    mask = check_same_grid(Scan(case.mask), scan)
    placement = find_placement(scan, case.intensity, canvas=settings.canvas, crop=settings.crop)
    planes = place_scan(scan, case.intensity, placement)
    fractions, ceiling = place_regions(mask, settings.regions, placement)
    write_record(path, CaseRecord(planes, fractions))
    return len(planes), ceiling


def _is_intact(path: Path, entry: RecordEntry) -> bool:
    return path.is_file() and file_sha256(path) == entry.record_sha256


def _unchanged(old: RecordEntry, case: Case, digests: tuple[str, str]) -> bool:
    sources = old.scan_sha256, old.mask_sha256, old.intensity
    return sources == (*digests, str(case.intensity))


def _previous_entries(
    folder: Path, dataset: Dataset, settings: RecordSettings
) -> dict[str, RecordEntry]:
    try:
        old = load_index(folder)
    except InputError:
        return {}
    if _build_index(dataset, settings, old.records) != replace(old, additional=()):
        return {}
    return {entry.case: entry for entry in old.records}


def _build_index(
    dataset: Dataset, settings: RecordSettings, entries: Iterable[RecordEntry]
) -> RecordIndex:
    return RecordIndex(
        format_version=FORMAT_VERSION,
        dataset=dataset.name,
        canvas=settings.canvas,
        crop=settings.crop,
        regions=dict(settings.regions.labels),
        ignored=settings.regions.ignored,
        records=tuple(entries),
    )


def _remove_stale(folder: Path, index: RecordIndex) -> None:
    kept = {f"{entry.case}{SUFFIX}" for entry in (*index.records, *index.additional)}
    for path in folder.glob(f"*{SUFFIX}"):
        if path.name not in kept:
            path.unlink()
