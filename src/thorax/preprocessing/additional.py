"""Additional training records: synthetic chests, and varied copies of the scans.

They are training cases only: never part of a fold, never validated or tested. A copy is used only
if all scans of its patient are training cases.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.files import file_sha256
from thorax.common.parallel import in_processes
from thorax.common.params import SyntheticParams
from thorax.datasets.dataset import Case, Dataset
from thorax.imaging.body import coarse_planes
from thorax.imaging.grid import Grid, Volume, make_volume
from thorax.imaging.intensity import whole_hu
from thorax.imaging.intensity_detection import detect_intensity_of_scan
from thorax.imaging.regions import Regions, whole_labels
from thorax.io import Scan
from thorax.phantom import Variety, chest
from thorax.phantom.scans.copies import varied_copy
from thorax.preprocessing.canvas import place_regions, place_scan, placement_of
from thorax.preprocessing.index import RecordEntry
from thorax.preprocessing.record_settings import RecordSettings
from thorax.preprocessing.records import SUFFIX, CaseRecord, write_record

FIRST_CHEST = 100_000
"""Number of the first synthetic chest; those of `data/phantom` are other patients."""

LABELS = {"lung": (1, 2, 3), "infection": (3,)}
"""Regions that synthetic masks have, with their labels; lung without those of infection where the
regions of the dataset share no label."""


class VolumeSlabs:
    """A volume in memory, read like a file: one slab of canonical planes.

    Args:
        volume: Voxels with canonical axes.
        path: Name for messages.
    """

    def __init__(self, volume: Volume, path: Path) -> None:
        self.volume, self.path = volume, path
        self.grid: Grid = volume.grid

    def slabs(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield all planes, shape ``(N, X, Y)``."""
        yield 0, np.moveaxis(self.volume.voxels, 2, 0)


def additional_records(
    dataset: Dataset,
    params: SyntheticParams,
    folder: Path,
    settings: RecordSettings,
    *,
    workers: int | None = None,
) -> list[RecordEntry]:
    """Write the records of synthetic chests and of varied copies, in parallel processes.

    Args:
        dataset: The cases that are copied; its regions are those of the records.
        params: Number and variety of chests and copies.
        folder: Folder of the records.
        settings: Settings of all records.
        workers: Parallel processes; default: number of cores.

    Returns:
        Their entries, sorted by name. Scans that `thorax predict` would refuse have none.

    Raises:
        InputError: Chests are added to a dataset with a region that their masks lack, or a case has
            the name of an additional record.
    """
    _check_names([case.name for case in dataset.cases], params)
    work: list[Callable[[], list[RecordEntry]]] = []
    if params.copies:
        # These take longest, so they start first.
        work += [partial(copy_records, case, params, folder, settings) for case in dataset.cases]
    if params.chests:
        chest_settings = _chest_settings(settings)
        work += [
            partial(chest_records, number, params, folder, chest_settings)
            for number in range(FIRST_CHEST, FIRST_CHEST + params.chests)
        ]
    written = in_processes(work, title="synthetic", unit="item", size=workers)
    return sorted(chain.from_iterable(written), key=lambda entry: entry.case)


def chest_records(
    number: int, params: SyntheticParams, folder: Path, settings: RecordSettings
) -> list[RecordEntry]:
    """Write the record of one synthetic chest; a list of its entry, or an empty one."""
    synthetic = chest(number, seed=params.seed, variety=variety_of(params))
    name = _chest_name(number)
    return _write(name, name, synthetic.scan, synthetic.mask, folder, settings)


def copy_records(
    case: Case, params: SyntheticParams, folder: Path, settings: RecordSettings
) -> list[RecordEntry]:
    """Write the records of all copies of one scan; the scan is read once."""
    scan, mask = _in_hu(case), _in_labels(case)
    seed = int.from_bytes(hashlib.sha256(case.name.encode()).digest()[:8], "little")
    entries = []
    for number in range(params.copies):
        rng = np.random.default_rng((params.seed, number, seed))
        copied_scan, copied_mask, _ = varied_copy(scan, mask, rng)
        name = _copy_name(case.name, number)
        entries += _write(name, case.patient, copied_scan, copied_mask, folder, settings)
    return entries


def _chest_name(number: int) -> str:
    return f"synthetic_{number - FIRST_CHEST:05d}"


def _copy_name(case: str, number: int) -> str:
    return f"{case}_copy{number:03d}"


def _check_names(cases: Sequence[str], params: SyntheticParams) -> None:
    """Raise `InputError` if an additional record would replace that of a case."""
    added = {
        "copies": (_copy_name(case, number) for case in cases for number in range(params.copies)),
        "chests": map(_chest_name, range(FIRST_CHEST, FIRST_CHEST + params.chests)),
    }
    for kind, names in added.items():
        if taken := set(cases).intersection(names):
            raise InputError(
                f"no case may have the name of a record of `synthetic.{kind}`, got {min(taken)}; "
                f"rename its scan and mask, or set `synthetic.{kind}: 0`"
            )


def variety_of(params: SyntheticParams) -> Variety:
    """Return the variations of the synthetic chests that the parameters name."""
    return Variety(**dict.fromkeys(params.variety, True))


def _chest_settings(settings: RecordSettings) -> RecordSettings:
    unknown = [name for name in settings.regions.names if name not in LABELS]
    if unknown:
        raise InputError(
            f"`synthetic.chests` needs a dataset whose regions are among {', '.join(LABELS)}, but "
            f"this one has `{unknown[0]}`; set `synthetic.chests: 0`"
        )
    labels = {name: LABELS[name] for name in settings.regions.names}
    own = settings.regions.labels
    if len(own) == len(LABELS) and set(own["lung"]).isdisjoint(own["infection"]):
        labels["lung"] = (1, 2)
    ignored = () if "lung" in labels else (1, 2)
    return RecordSettings(Regions(labels, ignored), settings.canvas, settings.crop)


def _write(
    name: str, patient: str, scan: Volume, mask: Volume, folder: Path, settings: RecordSettings
) -> list[RecordEntry]:
    slabs = VolumeSlabs(_canonical(scan), Path(name))
    coarse = coarse_planes(slabs)
    try:
        scale = detect_intensity_of_scan(coarse).scale
    except InputError:
        return []
    coarse_hu = whole_hu(scale.to_hu(coarse))
    placement = placement_of(
        coarse_hu, scale, slabs.grid, canvas=settings.canvas, crop=settings.crop
    )
    planes = place_scan(slabs, scale, placement)
    reference = VolumeSlabs(_canonical(mask), Path(name))
    fractions, ceiling = place_regions(reference, settings.regions, placement)
    path = folder / f"{name}{SUFFIX}"
    write_record(path, CaseRecord(planes, fractions))
    return [
        RecordEntry(
            case=name,
            patient=patient,
            site="",
            planes=len(planes),
            scan_sha256=_digest(scan),
            mask_sha256=_digest(mask),
            intensity=str(scale),
            record_sha256=file_sha256(path),
            ceiling=ceiling,
        )
    ]


def _canonical(volume: Volume) -> Volume:
    affine = volume.grid.affine
    orientation = io_orientation(affine)
    voxels = apply_orientation(volume.voxels, orientation)
    return make_volume(voxels, affine @ inv_ornt_aff(orientation, volume.grid.shape))


def _in_hu(case: Case) -> Volume:
    raw = _whole(Scan(case.scan))
    return Volume(whole_hu(case.intensity.to_hu(raw.voxels)), raw.grid)


def _in_labels(case: Case) -> Volume:
    raw = _whole(Scan(case.mask))
    return Volume(whole_labels(raw.voxels, path=case.mask), raw.grid)


def _whole(scan: Scan) -> Volume:
    return Volume(scan.voxels(), scan.grid)


def _digest(volume: Volume) -> str:
    return hashlib.sha256(np.ascontiguousarray(volume.voxels).tobytes()).hexdigest()
