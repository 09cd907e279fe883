"""Folder layouts of datasets as users keep them: scans and masks, matched by name.

DICOM is found in two layouts: one folder per patient, or folders of DICOM files and DICOM masks of
the same name.
"""

import re
from pathlib import Path

from thorax.common.errors import InputError
from thorax.datasets.dataset import PARTS, CaseFiles, files_in
from thorax.datasets.dicom_cases import find_patients, is_dicom_scan

_LAYOUTS = (PARTS, ("images", "labels"), ("imagesTr", "labelsTr"))

_ENDINGS = (
    re.compile(r"[-_](0000|ct|scan|image)$", re.IGNORECASE),
    re.compile(r"[-_](seg|mask|labels?)$", re.IGNORECASE),
)

_IMAGE = re.compile(
    r"(?P<name>[^.].*?)(\.nii|\.nii\.gz|\.nrrd|\.nhdr|\.mha|\.mhd|(\.rtss)?\.dcm"
    r"|\.hdr(\.gz)?|(?P<voxels>\.img(\.gz)?))",
    re.IGNORECASE,
)


def find_cases(source: Path) -> list[CaseFiles]:
    """Match masks to scans by name; a file without a match is a case with that file alone.

    Images of other formats than NIfTI are listed too, so that they can be reported.

    Args:
        source: Contains ``scans/`` and ``masks/``, ``images/`` and ``labels/``, or ``imagesTr/``
            and ``labelsTr/``; or one folder per patient with DICOM files, see `find_patients`.

    Returns:
        Cases sorted by name. The name is that of the files, without ``_0000``, ``_ct``, ``_seg``
        and the like if scan and mask match only so.

    Raises:
        InputError: The folders are missing or unreadable, or there is no scan.
    """
    if not any(_is_layout(source, layout) for layout in _LAYOUTS) and source.is_dir():
        patients = find_patients(source)
        if patients:
            return patients
    folders = _folders(source)
    files = [_images(folder) for folder in folders]
    if not files[0]:
        raise InputError(f"there is no NIfTI scan in {folders[0]}")
    forms = [
        {path: (name, ending.sub("", name)) for path, name in images.items()}
        for images, ending in zip(files, _ENDINGS, strict=True)
    ]
    scans, masks = _by_name(forms[0], forms[1]), _by_name(forms[1], forms[0])
    return [
        CaseFiles(name, tuple(scans.get(name, ())), tuple(masks.get(name, ())))
        for name in sorted({*scans, *masks})
    ]


def _folders(source: Path) -> tuple[Path, Path]:
    for layout in _LAYOUTS:
        if _is_layout(source, layout):
            scans, masks = layout
            return source / scans, source / masks
    layouts = ", or ".join(f"{scans}/ and {masks}/" for scans, masks in _LAYOUTS)
    paths = files_in(source)
    names = ", ".join(path.name for path in paths[:5]) or "nothing"
    raise InputError(
        f"a dataset must be a folder with {layouts}, but {source} contains {names}"
        f"{', …' if len(paths) > 5 else ''}; for DICOM, give one folder per patient with a CT "
        "series and its structure set or segmentation"
    )


def _is_layout(source: Path, layout: tuple[str, str]) -> bool:
    return all((source / part).is_dir() for part in layout)


def _images(folder: Path) -> dict[Path, str]:
    """Images by path, with their names; a folder of DICOM files is one, too."""
    paths = files_in(folder)
    matches = {path: _IMAGE.fullmatch(path.name) for path in paths if not is_dicom_scan(path)}
    with_header = {match["name"] for match in matches.values() if match and not match["voxels"]}
    names = {
        path: match["name"]
        for path, match in matches.items()
        if match and not (match["voxels"] and match["name"] in with_header)
    }
    folders = (path for path in paths if path not in matches and not path.name.startswith("."))
    return names | {path: path.name for path in folders}


def _by_name(
    own: dict[Path, tuple[str, str]], other: dict[Path, tuple[str, str]]
) -> dict[str, list[Path]]:
    """Group files by the form of their name that the other folder has too, full names first."""
    other_names = {form for forms in other.values() for form in forms}
    groups: dict[str, list[Path]] = {}
    for path, forms in own.items():
        name = next((form for form in forms if form in other_names), forms[0])
        groups.setdefault(name, []).append(path)
    return groups
