"""Find patients with a DICOM series and its contours, and convert them to NIfTI."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from thorax.common.errors import InputError
from thorax.common.text import listed
from thorax.datasets.dataset import PARTS, CaseFiles, files_in
from thorax.io import Scan, holds_dicom, is_dicom_file, write_volume

if TYPE_CHECKING:
    from thorax.io.dicom_objects.rois import RoiFile

RoiNames = Mapping[str, Sequence[str]]
"""Name of each region → names of its regions of interest."""

_OBJECTS = ("RTSTRUCT", "SEG")


@dataclass(frozen=True)
class ConvertedCase:
    """A case as NIfTI files.

    Args:
        files: The files.
        codes: Regions of the labelled voxels: sums of ``2**i`` over all regions ``i`` of a voxel;
            empty if the mask was NIfTI already.
        remarks: Notes and warnings about the files.
    """

    files: CaseFiles
    codes: frozenset[int] = frozenset()
    remarks: tuple[str, ...] = ()


def find_patients(source: Path) -> list[CaseFiles]:
    """Find patients: subfolders with a CT series and its structure set or segmentation.

    Both may be at any depth below the folder of the patient, as downloads of The Cancer Imaging
    Archive are. A patient with another number of such files is a case with all of them, so that it
    is reported.

    Returns:
        Cases sorted by name, which is that of the patient's folder; none if there is no DICOM mask.
    """
    from thorax.io.dicom_objects.read_masks import kind_of

    cases = []
    for folder in filter(Path.is_dir, files_in(source)):
        files = sorted(path for path in folder.rglob("*") if is_dicom_file(path))
        kinds = {path: kind_of(path) for path in files}
        masks = tuple(path for path in files if kinds[path] in _OBJECTS)
        if files and not folder.name.startswith("."):
            scans = (folder,) if "CT" in kinds.values() else ()
            cases.append(CaseFiles(folder.name, scans, masks))
    return cases if any(case.masks for case in cases) else []


def is_dicom_scan(path: Path) -> bool:
    """Return True for a folder of DICOM files."""
    return path.is_dir() and any(
        holds_dicom(folder) for folder in (path, *filter(Path.is_dir, path.rglob("*")))
    )


def _has_dicom_mask(case: CaseFiles) -> bool:
    return any(is_dicom_file(path) for path in case.masks)


def check_masks(cases: Sequence[CaseFiles], regions: RoiNames) -> bool:
    """Return True if the masks are DICOM, and False if they are not.

    Raises:
        InputError: Some are DICOM and others are not, or the regions are not named as they need.
    """
    dicom = [case.name for case in cases if _has_dicom_mask(case)]
    others = [case.name for case in cases if case.masks and case.name not in dicom]
    if dicom and others:
        raise InputError(
            f"masks must be all DICOM or all NIfTI, but those of {listed(others, at_most=3)} are "
            "not DICOM; add them as a separate dataset"
        )
    if dicom and not regions:
        raise InputError("regions of DICOM masks must be named by their regions of interest")
    names = [text for texts in regions.values() for text in texts if not text.strip().isdecimal()]
    if names and not dicom:
        raise InputError(
            f"regions of NIfTI masks must be label values, like lung=1,2, got {listed(names)}"
        )
    return bool(dicom)


def convert_cases(
    cases: Sequence[CaseFiles], regions: RoiNames, folder: Path
) -> tuple[list[ConvertedCase], dict[str, list[str]]]:
    """Convert the DICOM files of cases to NIfTI in the folders of a dataset.

    Scans become HU. Masks become labels on the grid of their scan: see `label_of_code`. Other files
    stay where they are.

    Args:
        cases: The cases.
        regions: Name of each region → names of its regions of interest.
        folder: Has the folders `PARTS`.

    Returns:
        The cases that could be converted, and the names of the others by their problem.
    """
    to_convert = [case for case in cases if has_dicom(case)]
    converted = [ConvertedCase(case) for case in cases if case not in to_convert]
    problems: dict[str, list[str]] = {}
    for case in tqdm(to_convert, "convert", unit="case", disable=None if to_convert else True):
        try:
            converted.append(_convert(case, regions, folder))
        except InputError as error:
            problems.setdefault(str(error), []).append(case.name)
    return sorted(converted, key=lambda case: case.files.name), problems


def has_dicom(case: CaseFiles) -> bool:
    """Return True if a case has a DICOM series or a DICOM mask."""
    return _has_dicom_mask(case) or any(map(is_dicom_scan, case.scans))


def _convert(case: CaseFiles, regions: RoiNames, folder: Path) -> ConvertedCase:
    """Convert a case.

    Raises:
        InputError: It has not one scan and one mask, or they cannot be read.
    """
    if len(case.scans) != 1 or len(case.masks) != 1:
        raise InputError(
            "a case must have one scan and one mask, but it has "
            f"{listed(path.name for path in (*case.scans, *case.masks))}; keep one of each"
        )
    (scan_path,), (mask_path,) = case.scans, case.masks
    file = _open_rois(mask_path)
    scan = _open_scan(scan_path, file)
    converted = ConvertedCase(case, remarks=(*scan.warnings, *scan.notes))
    paths = [folder / part / f"{case.name}.nii.gz" for part in PARTS]
    if scan_path.is_dir():
        write_volume(paths[0], scan.voxels(), scan.affine)
        converted = replace(converted, files=replace(case, scans=(paths[0],)))
    return converted if file is None else _convert_mask(converted, file, regions, scan, paths[1])


def _open_rois(path: Path) -> "RoiFile | None":
    from thorax.io.dicom_objects.read_masks import open_rois

    return open_rois(path) if is_dicom_file(path) else None


def _open_scan(path: Path, file: "RoiFile | None") -> Scan:
    from thorax.io.dicom_objects.read_masks import open_series

    return open_series(path, file) if file else Scan(path)


def _convert_mask(
    case: ConvertedCase, file: "RoiFile", regions: RoiNames, scan: Scan, path: Path
) -> ConvertedCase:
    from thorax.io.dicom_objects.read_masks import read_regions

    mask = read_regions(file, regions, scan)
    codes = mask.voxels().astype(np.uint8)
    present = frozenset(np.flatnonzero(np.bincount(codes.ravel(order="K"))[1:]) + 1)
    write_volume(path, label_of_code(len(regions))[codes], scan.affine)
    remarks = dict.fromkeys((*case.remarks, *mask.warnings, *mask.notes))
    return ConvertedCase(
        replace(case.files, masks=(path,)), frozenset(map(int, present)), tuple(remarks)
    )


def label_of_code(count: int) -> NDArray[np.uint8]:
    """Label value of each sum of ``2**i`` over the regions of a voxel.

    Voxels of one region only have its number, from 1. Labels of several regions follow.

    Args:
        count: Number of regions.

    Example:
        >>> label_of_code(3).tolist()
        [0, 1, 2, 4, 3, 5, 6, 7]
    """
    codes = sorted(range(1, 2**count), key=lambda code: (code.bit_count() > 1, code))
    labels = np.zeros(2**count, dtype=np.uint8)
    labels[codes] = np.arange(1, 2**count)
    return labels


def region_labels(names: Sequence[str], codes: frozenset[int]) -> dict[str, list[int]]:
    """Label values of each region: its own, and those of its overlaps that occur.

    Example:
        >>> region_labels(["lung", "lesion"], frozenset({1, 3}))
        {'lung': [1, 3], 'lesion': [2, 3]}
    """
    labels = label_of_code(len(names))
    return {
        name: sorted(int(labels[code]) for code in {*codes, 1 << index} if code >> index & 1)
        for index, name in enumerate(names)
    }
