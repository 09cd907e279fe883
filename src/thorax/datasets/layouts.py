"""Folder layouts of datasets as users keep them: scans and masks, matched by name."""

import re
from pathlib import Path

from thorax.common.errors import InputError
from thorax.datasets.dataset import PARTS, CaseFiles, files_in

_LAYOUTS = (PARTS, ("images", "labels"), ("imagesTr", "labelsTr"))

_ENDINGS = (
    re.compile(r"[-_](0000|ct|scan|image)$", re.IGNORECASE),
    re.compile(r"[-_](seg|mask|labels?)$", re.IGNORECASE),
)

_IMAGE = re.compile(r"(?P<name>[^.].*?)(\.nii|\.nii\.gz|\.nrrd|\.mha|\.mhd|\.dcm)", re.IGNORECASE)


def find_cases(source: Path) -> list[CaseFiles]:
    """Match masks to scans by name; a file without a match is a case with that file alone.

    Images of other formats than NIfTI are listed too, so that they can be reported.

    Args:
        source: Contains ``scans/`` and ``masks/``, ``images/`` and ``labels/``, or ``imagesTr/``
            and ``labelsTr/``.

    Returns:
        Cases sorted by name. The name is that of the files, without ``_0000``, ``_ct``, ``_seg``
        and the like if scan and mask match only so.

    Raises:
        InputError: The folders are missing or unreadable, or there is no scan.
    """
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
    for scans, masks in _LAYOUTS:
        if (source / scans).is_dir() and (source / masks).is_dir():
            return source / scans, source / masks
    layouts = ", or ".join(f"{scans}/ and {masks}/" for scans, masks in _LAYOUTS)
    paths = files_in(source)
    names = ", ".join(path.name for path in paths[:5]) or "nothing"
    raise InputError(
        f"a dataset must be a folder with {layouts}, but {source} contains {names}"
        f"{', …' if len(paths) > 5 else ''}"
    )


def _images(folder: Path) -> dict[Path, str]:
    matches = {path: _IMAGE.fullmatch(path.name) for path in files_in(folder)}
    return {path: match["name"] for path, match in matches.items() if match}


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
