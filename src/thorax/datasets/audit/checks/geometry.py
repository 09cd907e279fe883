"""Checks of geometry: grids, affines, spacing."""

from collections.abc import Iterator

import numpy as np

from thorax.common.text import counted
from thorax.datasets.audit.facts import CaseFacts, FileFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.grid import NEGLIGIBLE_MM

SHEARED_COSINE = 0.01
"""Cosine between two axes above which they are not perpendicular: half a degree."""

METRES_MM = 0.02
"""In-plane spacing below which the unit cannot be millimetres; a CT has 0.4 to 1.2 mm."""

MICROMETRES_MM = 100

CHEST_MM = (100, 1000)
"""Plausible width of the planes of a chest CT; a field of view has 200 to 700 mm, a crop less."""

SAME_SPACING = 0.01
"""Relative difference allowed between the spacing in a header and that of its affine."""


def mask_geometry(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A mask on another grid than its scan."""
    scan = facts.scan.grid if facts.scan else None
    mask = facts.mask.grid if facts.mask else None
    if scan is None or mask is None or mask.matches(scan, tolerance_mm=NEGLIGIBLE_MM):
        return
    if mask.shape != scan.shape:
        text = f"the mask has {_times(mask.shape)} voxels, its scan {_times(scan.shape)}"
        advice = "create the mask from this scan again, or resample it to the grid of the scan"
    elif mask.same_voxels(scan):
        apart = f"{mask.distance_mm(scan):.2g} mm"
        text = f"the mask is up to {apart} away from its scan, less than a tenth of a voxel"
        advice = "nothing: the positions of the scan are used"
        yield Finding("mask-geometry", "note", text, advice, facts.case)
        return
    else:
        apart = f"{mask.distance_mm(scan):.3g} mm"
        text = f"the mask is at another position than its scan, by {apart}"
        advice = "copy the affine of the scan if the mask was drawn on it; else resample the mask"
    yield Finding("mask-geometry", "error", text, advice, facts.case)


def no_orientation(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Files without an orientation."""
    missing = [part for part, file in _files(facts) if not file.oriented]
    if missing:
        yield Finding(
            "no-orientation",
            "warning",
            f"{_have(missing)} no orientation (sform and qform are 0): left, right, front and back "
            "are assumed",
            "convert it again from DICOM; or find out the orientation, and set the sform",
            facts.case,
        )


def misoriented(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A patient who is not oriented as the header states."""
    if facts.values and facts.values.misorientation:
        yield Finding(
            "orientation-implausible",
            "warning",
            facts.values.misorientation,
            "look at the scan in a viewer that shows the directions; if they are wrong, convert it "
            "again from DICOM, and correct scan and mask together",
            facts.case,
        )


def sheared(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Axes that are not perpendicular, as with a tilted gantry."""
    for part, file in _files(facts)[:1]:
        angle = _skew_degrees(file)
        if angle is not None:
            yield Finding(
                "sheared",
                "warning",
                f"the axes of the {part} are {angle:.3g}° from perpendicular, as with a tilted "
                "gantry",
                "resample scan and mask to a perpendicular grid; ignore this if the tilt is real",
                facts.case,
            )


def spacing_declared(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A header whose spacing is zero, negative, not a number, or not that of its affine."""
    for part, file in _files(facts):
        stated = np.array(file.declared_mm)
        if not len(stated) or file.grid is None:
            continue
        used = np.array(file.grid.spacing_mm)
        if not (stated > 0).all():
            replaced = file.problem or any(used[stated <= 0] == 1)
            yield Finding(
                "spacing-declared",
                "error" if replaced else "warning",
                f"the header of the {part} states a spacing of {_numbers(stated)} mm; it is read "
                f"as {_numbers(used)}",
                "write the true spacing into the header, or convert the file again from DICOM",
                facts.case,
            )
        elif not np.allclose(np.sort(stated), np.sort(used), rtol=SAME_SPACING):
            yield Finding(
                "spacing-declared",
                "warning",
                f"the header of the {part} states a spacing of {_numbers(stated)} mm, its affine "
                f"has {_numbers(used)}",
                "find out which is right, and write it into both",
                facts.case,
            )


def spacing_unit(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Spacing in metres, centimetres or micrometres; planes too small or large for a chest."""
    if facts.scan is None or facts.scan.grid is None or not facts.scan.shape:
        return
    spacing = np.array(facts.scan.grid.spacing_mm[:2])
    width = spacing * facts.scan.shape[:2]
    size = f"with a spacing of {_numbers(spacing)} mm the planes have {_numbers(width)} mm"
    if spacing.max() < METRES_MM or spacing.min() > MICROMETRES_MM:
        unit = "metres" if spacing.max() < METRES_MM else "micrometres"
        factor = 1000 if unit == "metres" else 0.001
        yield Finding(
            "spacing-unit",
            "error",
            f"{size}: the unit looks like {unit}",
            f"multiply the affines of scan and mask by {factor:g}",
            facts.case,
        )
    elif not CHEST_MM[0] <= width.max() <= CHEST_MM[1]:
        small = width.max() * 10 <= CHEST_MM[1]
        yield Finding(
            "spacing-unit",
            "warning",
            f"{size}, not a chest{': the unit looks like centimetres' if small else ''}",
            "write the spacing in millimetres into scan and mask",
            facts.case,
        )
    elif facts.scan.unit in ("m", "um"):
        yield Finding(
            "spacing-unit",
            "warning",
            f"the header gives lengths in {facts.scan.unit}, but {size}",
            "set the unit of the header to millimetres",
            facts.case,
        )


def spacing_made_up(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A spacing of 1 mm along all axes, the default of some writers."""
    grid = facts.scan.grid if facts.scan else None
    if grid is not None and np.allclose(grid.spacing_mm, 1, rtol=0, atol=1e-6):
        yield Finding(
            "spacing-made-up",
            "note",
            "the spacing is 1 mm along all axes, which some writers use if it is unknown",
            "unless the scan was resampled to 1 mm, volumes and distances of this case are wrong",
            facts.case,
        )


def few_planes(facts: CaseFacts, context: int) -> Iterator[Finding]:
    """Fewer planes than one slice stack of the network."""
    if facts.scan is None or facts.scan.shape is None:
        return
    planes, needed = facts.scan.shape[2], 2 * context + 1
    if planes < needed:
        yield Finding(
            "few-planes",
            "warning",
            f"{counted(planes, 'plane')}, but a slice stack of the network has {needed} "
            f"(`train.context` {context}); the end planes are repeated",
            "remove the case, or lower `train.context`",
            facts.case,
        )


def _files(facts: CaseFacts) -> list[tuple[str, FileFacts]]:
    parts = ("scan", facts.scan), ("mask", facts.mask)
    return [(part, file) for part, file in parts if file is not None]


def _have(parts: list[str]) -> str:
    return f"{parts[0]} and {parts[1]} have" if len(parts) > 1 else f"the {parts[0]} has"


def _skew_degrees(file: FileFacts) -> float | None:
    """Largest deviation of two axes from perpendicular; None if it is negligible."""
    if file.grid is None:
        return None
    axes = file.grid.affine[:3, :3] / np.array(file.grid.spacing_mm)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    return float(np.degrees(np.arcsin(min(cosine, 1.0)))) if cosine > SHEARED_COSINE else None


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)


def _numbers(values: np.ndarray) -> str:
    return "×".join(f"{value:.3g}" for value in values)
