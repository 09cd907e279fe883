"""Datasets: folders of scans and masks, described by a `dataset.yaml`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from thorax.common.errors import InputError, first_problem
from thorax.common.files import write_text
from thorax.common.params import read_yaml
from thorax.imaging.intensity import IntensityScale, parse_intensity
from thorax.imaging.regions import Regions
from thorax.io import case_name

SPEC = "dataset.yaml"

PARTS = ("scans", "masks")
"""The folders of a dataset."""


def _check_intensity(text: str) -> str:
    parse_intensity(text)
    return text


ScaleName = Annotated[str, AfterValidator(_check_intensity)] | tuple[float, float]
"""An intensity scale in a `dataset.yaml`: the HU of 0 and 255, or text for `parse_intensity`."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class DatasetSpec:
    """Content of a `dataset.yaml`.

    Args:
        regions: Region name → label values in the masks.
        title: One line for readers.
        licence: Licence of the data.
        source: Origin of the data.
        note: Further remarks for users.
        ignored: Label values that belong to no region.
        sides: ``left`` and ``right`` → label values on this side of the patient; empty: the sides
            are determined from the shape of the lungs.
        patient: Regular expression whose first group is the patient in a case name.
        site: The same for the site: scanner, hospital or source. Empty: all cases from one site.
        intensity: ``hu``; ``hu+1024`` for HU plus 1024; the range of HU that 0..255 stand for, or
            the text ``250,-1250`` for a negative; or one such value per pattern of case names, of
            which the first match counts.
    """

    regions: dict[str, list[int]]
    title: str = ""
    licence: str = ""
    source: str = ""
    note: str = ""
    ignored: list[int] = Field(default_factory=list)
    sides: dict[Literal["left", "right"], list[int]] = Field(default_factory=dict)
    patient: str = "(.+)"
    site: str = ""
    intensity: ScaleName | dict[str, ScaleName] = "hu"

    def as_regions(self) -> Regions:
        """Check the regions.

        Raises:
            InputError: As `Regions`.
        """
        labels = {name: tuple(values) for name, values in self.regions.items()}
        return Regions(labels, tuple(self.ignored))

    def as_sides(self) -> dict[str, tuple[int, ...]]:
        """Check the label values of each side.

        Raises:
            InputError: A label value is in no region, or on both sides.
        """
        known = {value for values in self.regions.values() for value in values}
        named = [value for values in self.sides.values() for value in values]
        wrong = sorted({value for value in named if value not in known or named.count(value) > 1})
        if wrong:
            raise InputError(
                "`sides` must name label values of regions, each on one side, got "
                f"{', '.join(map(str, wrong))} in {dict(self.sides)}"
            )
        return {side: tuple(values) for side, values in self.sides.items()}

    def patient_of(self, case: str) -> str:
        """Extract the patient from a case name.

        Raises:
            InputError: The `patient` pattern does not match the name, or is invalid.
        """
        return _first_group("patient", self.patient, case)

    def site_of(self, case: str) -> str:
        """Extract the site from a case name; empty if all cases come from one site.

        Raises:
            InputError: The `site` pattern does not match the name, or is invalid.
        """
        return _first_group("site", self.site, case) if self.site else ""

    def intensity_of(self, case: str) -> IntensityScale:
        """Look up the intensity scale of a case.

        Raises:
            InputError: No pattern of `intensity` matches the name, or it is ``auto``.
        """
        scales = self.intensity if isinstance(self.intensity, dict) else {"*": self.intensity}
        for pattern, name in scales.items():
            if fnmatchcase(case, pattern):
                return parse_scale(name)
        raise InputError(f"no pattern under `intensity` matches the case `{case}`")


@dataclass(frozen=True)
class Case:
    """One scan with its mask.

    Args:
        name: File name without suffix.
        patient: The patient; all cases of a patient stay on one side of a split.
        scan: Path of the CT.
        mask: Path of the mask.
        intensity: Intensity scale of the scan.
        site: The site; empty if all cases come from one site.
    """

    name: str
    patient: str
    scan: Path
    mask: Path
    intensity: IntensityScale
    site: str = ""


@dataclass(frozen=True)
class Dataset:
    """Cases sorted by name, and the regions of their masks.

    Args:
        name: Name of its folder.
        regions: Label values of each region.
        cases: The cases.
        sides: ``left`` and ``right`` → label values on this side; empty if labels have no side.
    """

    name: str
    regions: Regions
    cases: tuple[Case, ...]
    sides: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def case(self, name: str) -> Case:
        """Return a case by its name.

        Raises:
            InputError: There is no such case.
        """
        for case in self.cases:
            if case.name == name:
                return case
        raise InputError(f"dataset `{self.name}` has no case `{name}`")


@dataclass(frozen=True)
class CaseFiles:
    """All files with the name of one case; a usable case has one scan and one mask."""

    name: str
    scans: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()


def load_dataset(folder: Path) -> Dataset:
    """List the cases of a dataset; no scan is opened.

    Args:
        folder: Contains `dataset.yaml`, `scans/` and `masks/`.

    Raises:
        InputError: A file or folder is missing, there is no scan, or a scan has no mask.
    """
    spec = load_spec(folder / SPEC)
    pairs = pair_up(folder / "scans", folder / "masks")
    cases = (
        Case(name, spec.patient_of(name), scan, mask, spec.intensity_of(name), spec.site_of(name))
        for name, (scan, mask) in pairs.items()
    )
    return Dataset(folder.name, spec.as_regions(), tuple(cases), spec.as_sides())


def parse_scale(name: ScaleName) -> IntensityScale:
    """Read an intensity scale of a `dataset.yaml`.

    Raises:
        InputError: It is ``auto``, or a range from high to low.

    Example:
        >>> parse_scale("hu+1024").offset_hu
        1024
    """
    scale = parse_intensity(name) if isinstance(name, str) else IntensityScale(name)
    if scale is None:
        raise InputError(
            "`intensity` in a `dataset.yaml` must not be `auto`, which only `thorax data add` "
            "accepts; write `hu` or another scale"
        )
    return scale


def scale_name(scale: IntensityScale) -> ScaleName:
    """Write an intensity scale for a `dataset.yaml`.

    Example:
        >>> scale_name(IntensityScale((-1250, 250)))
        (-1250, 250)
        >>> scale_name(IntensityScale((-1250, 250), inverted=True))
        '250,-1250'
    """
    return scale.window_hu if scale.window_hu and not scale.inverted else str(scale)


def load_spec(path: Path) -> DatasetSpec:
    """Read a `dataset.yaml`.

    Raises:
        InputError: It is missing or invalid YAML, or a key is unknown, missing or of the wrong
            type.
    """
    try:
        return TypeAdapter(DatasetSpec).validate_python(read_yaml(path))
    except OSError:
        raise InputError(f"there is no {path}; `thorax data add` writes one") from None
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}") from None


def save_spec(path: Path, spec: DatasetSpec) -> None:
    """Write a `dataset.yaml` without its empty keys."""
    content = {
        key: value for key, value in TypeAdapter(DatasetSpec).dump_python(spec).items() if value
    }
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def pair_up(scans: Path, masks: Path) -> dict[str, tuple[Path, Path]]:
    """Match masks to scans by name, sorted.

    Raises:
        InputError: There is no scan, a scan has no mask, a mask has no scan, or two files have
            one name.
    """
    images = _images(scans), _images(masks)
    if not images[0]:
        raise InputError(f"there is no NIfTI scan in {scans}")
    for there, here, kind in ((*images, "mask"), (*reversed(images), "scan")):
        alone = sorted(set(there) - set(here))
        if alone:
            raise InputError(
                f"every case needs a scan and a mask of one name, but {', '.join(alone)} "
                f"{'has' if len(alone) == 1 else 'have'} no {kind}"
            )
    return {name: (images[0][name], images[1][name]) for name in sorted(images[0])}


def files_in(folder: Path) -> list[Path]:
    """List a folder, sorted.

    Raises:
        InputError: The folder is missing or unreadable, or a file name in it is not UTF-8.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be read: {error.strerror}") from None
    for path in paths:
        _check_file_name(path)
    return paths


def _first_group(key: str, pattern: str, case: str) -> str:
    try:
        match = re.fullmatch(pattern, case) or re.match(pattern, case)
    except re.error as error:
        raise InputError(f"`{key}: {pattern}` is no regular expression: {error}") from None
    if not match or not match.groups() or not match.group(1):
        raise InputError(
            f"`{key}: {pattern}` must have a group that matches the {key} in every case name, but "
            f"matches nothing in `{case}`"
        )
    return match.group(1)


def _images(folder: Path) -> dict[str, Path]:
    images: dict[str, Path] = {}
    for path in files_in(folder):
        name = case_name(path)
        if name in images:
            raise InputError(f"two files are named `{name}`: {images[name]} and {path}")
        if name is not None:
            images[name] = path
    return images


def _check_file_name(path: Path) -> None:
    """Raise `InputError` for a name that is not UTF-8: JSON and YAML cannot store it."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the name of {str(path).encode('utf-8', 'backslashreplace').decode()} is not in "
            "UTF-8; rename it, or set PYTHONUTF8=1 if other programs display it correctly"
        ) from None
