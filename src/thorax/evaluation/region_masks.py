"""Read pairs of masks of which one or both are DICOM structure sets or segmentations.

Contours and segments are placed on the grid of the other mask if that is a volume; otherwise on
that of the scan, which is named by the user or in the same folder.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.evaluation.mask_pairs import MaskFiles
from thorax.imaging.regions import (
    MOST_REGIONS,
    Regions,
    parse_regions,
    parse_rois,
    regions_of_codes,
)
from thorax.io import SCAN_SUFFIXES, Scan, is_dicom_file

if TYPE_CHECKING:
    from thorax.io.dicom_objects.rois import RoiFile

RoiNames = Mapping[str, Sequence[str]]
"""Name of each region → names of its regions of interest."""


@dataclass(frozen=True, eq=False)
class RegionMask:
    """A label map, and the label values of its regions."""

    scan: Scan
    regions: Regions


@dataclass(frozen=True)
class RegionOptions:
    """The regions of both masks, as the user names them.

    Args:
        truth: ``name=1,2`` for label values, ``name=Lung_L,Lung_R`` for regions of interest; empty:
            the regions of interest that both masks name.
        predicted: The same for the predicted mask; empty: as for the true one.
        ignored: Label values of volumes that belong to no region.
        scan: The scan, or a folder of the scans of all cases; None: not given.
    """

    truth: Sequence[str] = ()
    predicted: Sequence[str] = ()
    ignored: tuple[int, ...] = ()
    scan: Path | None = None


def has_dicom(files: MaskFiles) -> bool:
    """Return True if one of two masks is a DICOM file."""
    return is_dicom_file(files.truth) or is_dicom_file(files.predicted)


def read_pair(files: MaskFiles, options: RegionOptions) -> tuple[RegionMask, RegionMask]:
    """Read the true and the predicted mask on one grid.

    Raises:
        InputError: A region is missing, a mask cannot be read, or there is no grid for contours.
    """
    from thorax.io.dicom_objects.read_masks import open_rois, read_on_own_grid

    paths = files.truth, files.predicted
    rois = [open_rois(path) if is_dicom_file(path) else None for path in paths]
    texts = [options.truth, options.predicted or options.truth]
    both = [file for file in rois if file is not None]
    if not options.truth:
        names = _common_names(both, files)
        regions: list[RoiNames] = [names, names]
    else:
        regions = [
            parse_rois(of_mask) if file else {} for file, of_mask in zip(rois, texts, strict=True)
        ]
    grid = _grid(files, rois, options.scan)
    if grid is None:
        scans = read_on_own_grid(both, regions)
        return _pair(
            RegionMask(scan, regions_of_codes(tuple(names)))
            for scan, names in zip(scans, regions, strict=True)
        )
    return _pair(
        _on_grid(file, of_file, grid) if file else _volume(path, of_mask, options)
        for file, of_file, path, of_mask in zip(rois, regions, paths, texts, strict=True)
    )


def _pair(masks: Iterable[RegionMask]) -> tuple[RegionMask, RegionMask]:
    truth, predicted = masks
    return truth, predicted


def _on_grid(file: "RoiFile", regions: RoiNames, grid: Scan) -> RegionMask:
    from thorax.io.dicom_objects.read_masks import read_regions

    return RegionMask(read_regions(file, regions, grid), regions_of_codes(tuple(regions)))


def _volume(path: Path, options: Sequence[str], all_options: RegionOptions) -> RegionMask:
    try:
        regions = parse_regions(options)
    except InputError:
        raise InputError(
            f"the regions of {path} must be label values, got {listed(options)}; name those of "
            "each mask: --region for the true one, --predicted-region for the other"
        ) from None
    return RegionMask(Scan(path), Regions(regions.labels, all_options.ignored))


def _common_names(files: "Sequence[RoiFile]", pair: MaskFiles) -> RoiNames:
    """Regions of interest that both files name."""
    if len(files) < 2:
        raise InputError(
            f"{pair.truth} and {pair.predicted} name their regions in different ways; give "
            "--region and --predicted-region, for example --region lung=Lung_L,Lung_R "
            "--predicted-region lung=1"
        )
    true_names, predicted_names = ([roi.name for roi in file.names if roi.name] for file in files)
    common = [name for name in true_names if name in predicted_names]
    if not 1 <= len(common) <= MOST_REGIONS:
        raise InputError(
            f"masks must have 1 to {MOST_REGIONS} regions of interest of the same name unless "
            f"regions are named, but {pair.truth} has {listed(true_names, at_most=10)} and "
            f"{pair.predicted} has {listed(predicted_names, at_most=10)}; give --region"
        )
    return {name: [name] for name in common}


def _grid(files: MaskFiles, rois: "Sequence[RoiFile | None]", scan: Path | None) -> Scan | None:
    """Return the grid for contours and segments; None: that of the segments themselves."""
    from thorax.io.dicom_objects.read_masks import find_series, open_series

    if scan is not None:
        return open_series(_scan_of_case(files, scan), *(file for file in rois if file))
    for file, path in zip(rois, (files.truth, files.predicted), strict=True):
        if file is None:
            return Scan(path)
    for file in rois:
        if file and (series := find_series(file.path.parent)):
            return open_series(series, file)
    return None


def _scan_of_case(files: MaskFiles, scan: Path) -> Path:
    """Return the scan of a case in a folder of scans, or the only scan."""
    if files.case == files.truth.name or not scan.is_dir():
        return scan
    names = (files.case, *(f"{files.case}{suffix}" for suffix in SCAN_SUFFIXES))
    scans = [scan / name for name in names if (scan / name).exists()]
    if not scans:
        raise InputError(f"there is no scan of `{files.case}` in {scan}; name it like its mask")
    return scans[0]
