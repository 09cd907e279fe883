"""Datasets: folders of scans, masks and a `dataset.yaml` that says what they mean."""

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

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


def _checked(intensity: str) -> str:
    parse_intensity(intensity)
    return intensity


ScaleName = Annotated[str, AfterValidator(_checked)] | tuple[float, float]
"""The range of HU that 0..255 stand for, or text for `parse_intensity`."""


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class DatasetSpec:
    """What a dataset is, as `dataset.yaml` says it.

    Args:
        regions: Region name → label values in the masks.
        title: One line for people.
        licence: Under which the data may be used.
        source: Where the data come from.
        note: Anything else that a user should know.
        ignored: Label values that belong to no region.
        patient: Regular expression whose first group is the patient in a case name.
        site: The same for where a case comes from: scanner, hospital, source. Empty: all from one.
        intensity: ``hu``; ``hu+1024`` where that was added to HU; the range of HU that 0..255
            stand for, and for a negative the text ``250,-1250``; or such a value for each pattern
            of case names, of which the first that matches holds.
    """

    regions: dict[str, list[int]]
    title: str = ""
    licence: str = ""
    source: str = ""
    note: str = ""
    ignored: list[int] = Field(default_factory=list)
    patient: str = "(.+)"
    site: str = ""
    intensity: ScaleName | dict[str, ScaleName] = "hu"

    def as_regions(self) -> Regions:
        """The regions, checked."""
        labels = {name: tuple(values) for name, values in self.regions.items()}
        return Regions(labels, tuple(self.ignored))

    def patient_of(self, case: str) -> str:
        """Patient whose scan a case is.

        Raises:
            InputError: The `patient` pattern does not match the name, or is no pattern.
        """
        return _found("patient", self.patient, case)

    def site_of(self, case: str) -> str:
        """Site that a case comes from; empty if all come from one.

        Raises:
            InputError: The `site` pattern does not match the name, or is no pattern.
        """
        return _found("site", self.site, case) if self.site else ""

    def domain_of(self, case: str) -> IntensityScale:
        """What the voxel values of a case mean.

        Raises:
            InputError: No pattern of `intensity` matches the name, or it is ``auto``.
        """
        domains = self.intensity if isinstance(self.intensity, dict) else {"*": self.intensity}
        for pattern, domain in domains.items():
            if fnmatchcase(case, pattern):
                return parse_scale(domain)
        raise InputError(f"no pattern under `intensity` matches the case `{case}`")


@dataclass(frozen=True)
class Case:
    """One scan with its mask.

    Args:
        name: File name without suffix.
        patient: Whose scan it is; all cases of one patient stay on one side of a split.
        scan: Path of the CT.
        mask: Path of the mask.
        domain: What the voxel values of the scan mean.
        site: Where it comes from; empty if all cases come from one site.
    """

    name: str
    patient: str
    scan: Path
    mask: Path
    domain: IntensityScale
    site: str = ""


@dataclass(frozen=True)
class Dataset:
    """Cases that belong together, sorted by name, and the regions that their masks show."""

    name: str
    regions: Regions
    cases: tuple[Case, ...]

    def case(self, name: str) -> Case:
        """The case of that name.

        Raises:
            InputError: There is none.
        """
        for case in self.cases:
            if case.name == name:
                return case
        raise InputError(f"dataset `{self.name}` has no case `{name}`")


def load_dataset(folder: Path) -> Dataset:
    """Find the cases of a dataset.

    Args:
        folder: Holds `dataset.yaml`, `scans/` and `masks/`.

    Raises:
        InputError: Something is missing, no scan is there, or scans and masks do not pair up.
    """
    spec = load_spec(folder / SPEC)
    pairs = pair_up(folder / "scans", folder / "masks")
    cases = (
        Case(name, spec.patient_of(name), scan, mask, spec.domain_of(name), spec.site_of(name))
        for name, (scan, mask) in pairs.items()
    )
    return Dataset(folder.name, spec.as_regions(), tuple(cases))


def parse_scale(name: ScaleName) -> IntensityScale:
    """What voxel values mean, from how a `dataset.yaml` names it.

    Raises:
        InputError: It is ``auto``, or a range that does not rise.

    Example:
        >>> parse_scale("hu+1024").offset_hu
        1024
    """
    known = parse_intensity(name) if isinstance(name, str) else IntensityScale(name)
    if known is None:
        raise InputError(
            "a `dataset.yaml` must say what voxel values mean; `auto` is for `thorax data add`"
        )
    return known


def scale_name(domain: IntensityScale) -> ScaleName:
    """How a `dataset.yaml` names what voxel values mean.

    Example:
        >>> scale_name(IntensityScale((-1250, 250)))
        (-1250, 250)
        >>> scale_name(IntensityScale((-1250, 250), inverted=True))
        '250,-1250'
    """
    return domain.window_hu if domain.window_hu and not domain.inverted else str(domain)


def load_spec(path: Path) -> DatasetSpec:
    """Read a `dataset.yaml`.

    Raises:
        InputError: It is missing, no YAML, or a key is unknown, missing or of the wrong type.
    """
    try:
        return TypeAdapter(DatasetSpec).validate_python(read_yaml(path))
    except OSError:
        raise InputError(f"there is no {path}; `thorax data add` writes one") from None
    except ValidationError as error:
        raise InputError(f"{path}: {first_problem(error)}") from None


def save_spec(path: Path, spec: DatasetSpec) -> None:
    """Write a `dataset.yaml`, leaving out what says nothing."""
    content = {
        key: value for key, value in TypeAdapter(DatasetSpec).dump_python(spec).items() if value
    }
    write_text(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))


def pair_up(scans: Path, masks: Path) -> dict[str, tuple[Path, Path]]:
    """Match masks to scans by name, sorted.

    Raises:
        InputError: There is no scan, a scan has no mask, a mask no scan, or a name occurs twice.
    """
    found = _images(scans), _images(masks)
    if not found[0]:
        raise InputError(f"there is no NIfTI scan in {scans}")
    for there, here, kind in ((*found, "mask"), (*reversed(found), "scan")):
        alone = sorted(set(there) - set(here))
        if alone:
            raise InputError(
                f"every case needs a scan and a mask of one name, but {', '.join(alone)} "
                f"{'has' if len(alone) == 1 else 'have'} no {kind}"
            )
    return {name: (found[0][name], found[1][name]) for name in sorted(found[0])}


def files_in(folder: Path) -> list[Path]:
    """What lies in a folder, sorted.

    Raises:
        InputError: There is no such folder, or a name in it is no text.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    paths = sorted(folder.iterdir())
    for path in paths:
        _check_letters(path)
    return paths


def _found(key: str, pattern: str, case: str) -> str:
    try:
        found = re.fullmatch(pattern, case) or re.match(pattern, case)
    except re.error as error:
        raise InputError(f"`{key}: {pattern}` is no regular expression: {error}") from None
    if not found or not found.groups() or not found.group(1):
        raise InputError(
            f"`{key}: {pattern}` must have a group that finds the {key} in every case name, but "
            f"finds none in `{case}`"
        )
    return found.group(1)


def _images(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files_in(folder):
        name = case_name(path)
        if name in found:
            raise InputError(f"two files are named `{name}`: {found[name]} and {path}")
        if name is not None:
            found[name] = path
    return found


def _check_letters(path: Path) -> None:
    """Raise `InputError` for a name that is no text: neither JSON nor YAML can hold it."""
    try:
        path.name.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the name of {str(path).encode('utf-8', 'backslashreplace').decode()} is not in "
            "UTF-8; rename it, or set PYTHONUTF8=1 if it shows well elsewhere"
        ) from None
