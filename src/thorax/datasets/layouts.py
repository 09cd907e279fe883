"""The files of a study as its owner keeps them: folders of scans and masks, matched by name."""

import re
from dataclasses import dataclass
from pathlib import Path

from thorax.common.errors import InputError
from thorax.datasets.dataset import PARTS

_LAYOUTS = (PARTS, ("images", "labels"), ("imagesTr", "labelsTr"))

_ENDINGS = (
    re.compile(r"[-_](0000|ct|scan|image)$", re.IGNORECASE),
    re.compile(r"[-_](seg|mask|labels?)$", re.IGNORECASE),
)

_IMAGE = re.compile(r"(?P<name>[^.].*?)(\.nii|\.nii\.gz|\.nrrd|\.mha|\.mhd|\.dcm)", re.IGNORECASE)


@dataclass(frozen=True)
class FoundCase:
    """The files of one case, as the user's folders hold them: one each, if all is well."""

    name: str
    scans: tuple[Path, ...]
    masks: tuple[Path, ...]


def find_cases(source: Path) -> list[FoundCase]:
    """Match masks to scans by name; what has no match is a case without it."""
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
        FoundCase(name, tuple(scans.get(name, ())), tuple(masks.get(name, ())))
        for name in sorted({*scans, *masks})
    ]


def _folders(source: Path) -> tuple[Path, Path]:
    for scans, masks in _LAYOUTS:
        if (source / scans).is_dir() and (source / masks).is_dir():
            return source / scans, source / masks
    known = ", or ".join(f"{scans}/ and {masks}/" for scans, masks in _LAYOUTS)
    held = _listing(source)
    names = ", ".join(path.name for path in held[:5]) or "nothing"
    raise InputError(
        f"a study must be a folder with {known}, but {source} holds {names}"
        f"{', …' if len(held) > 5 else ''}"
    )


def _images(folder: Path) -> dict[Path, str]:
    """Images of all formats, so that one which cannot be used is named, not passed over."""
    matches = {path: _IMAGE.fullmatch(path.name) for path in _listing(folder)}
    return {path: match["name"] for path, match in matches.items() if match}


def _listing(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"{folder} is no folder that can be read: {error.strerror}") from None


def _by_name(
    own: dict[Path, tuple[str, str]], other: dict[Path, tuple[str, str]]
) -> dict[str, list[Path]]:
    """Files under that form of their name which the other folder knows, the full one first."""
    known = {form for forms in other.values() for form in forms}
    named: dict[str, list[Path]] = {}
    for path, forms in own.items():
        name = next((form for form in forms if form in known), forms[0])
        named.setdefault(name, []).append(path)
    return named
