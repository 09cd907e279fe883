"""Faults of where voxels lie: grids, affines, spacing."""

from collections.abc import Iterator

import numpy as np

from thorax.datasets.audit.facts import CaseFacts, FileFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.grid import Grid

SHEARED_COSINE = 0.01
"""Cosine between two axes above which they are not at right angles: half a degree."""

METRES_MM = 0.02
"""In-plane spacing below which the unit is surely not the millimetre; a CT has 0.4 to 1.2."""

MICROMETRES_MM = 100

CHEST_MM = (100, 1000)
"""Width of the planes of a chest CT; the field of view has 200 to 700 mm, a crop less."""

SAME_SPACING = 0.01
"""Share by which the spacing in a header may differ from that of its affine."""


def mask_geometry(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A mask on another grid than its scan."""
    scan = facts.scan.grid if facts.scan else None
    mask = facts.mask.grid if facts.mask else None
    if scan is None or mask is None or mask.matches(scan):
        return
    if mask.shape != scan.shape:
        text = f"the mask has {_times(mask.shape)} voxels, its scan {_times(scan.shape)}"
        advice = "make the mask again from this scan, or resample it onto its grid"
    else:
        apart = f"{_apart_mm(scan, mask):.3g} mm"
        text = f"the mask lies elsewhere in the patient than its scan, by {apart}"
        advice = "give it the affine of its scan if it was drawn on it; else resample it"
    yield Finding("mask-geometry", "error", text, advice, facts.case)


def no_orientation(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Files that do not say where left and front are."""
    silent = [part for part, file in _files(facts) if not file.oriented]
    if silent:
        yield Finding(
            "no-orientation",
            "warning",
            f"{_both(silent)} no orientation (sform and qform are 0): left, right, front and back "
            "are a guess",
            "convert it again from DICOM; or look at it, and set the sform once you know",
            facts.case,
        )


def sheared(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Axes that are not at right angles, as with a tilted gantry."""
    for part, file in _files(facts)[:1]:
        angle = _skew_degrees(file)
        if angle is not None:
            yield Finding(
                "sheared",
                "warning",
                f"the axes of the {part} are {angle:.3g}° off a right angle, as with a tilted "
                "gantry",
                "resample scan and mask onto a straight grid, or leave it if the tilt is real",
                facts.case,
            )


def spacing_declared(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A header whose spacing is zero, negative, no number, or not that of its affine."""
    for part, file in _files(facts):
        stated = np.array(file.declared_mm)
        if not len(stated) or file.grid is None:
            continue
        used = np.array(file.grid.spacing_mm)
        if not (stated > 0).all():
            made_up = file.problem or any(used[stated <= 0] == 1)
            yield Finding(
                "spacing-declared",
                "error" if made_up else "warning",
                f"the header of the {part} states a spacing of {_numbers(stated)} mm; it is read "
                f"as {_numbers(used)}",
                "write the true spacing into the header, or convert it again from DICOM",
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
    told = f"a spacing of {_numbers(spacing)} mm makes planes of {_numbers(width)} mm"
    if spacing.max() < METRES_MM or spacing.min() > MICROMETRES_MM:
        unit = "metres" if spacing.max() < METRES_MM else "micrometres"
        factor = 1000 if unit == "metres" else 0.001
        yield Finding(
            "spacing-unit",
            "error",
            f"{told}: it looks like {unit}",
            f"multiply the affines of scan and mask by {factor:g}",
            facts.case,
        )
    elif not CHEST_MM[0] <= width.max() <= CHEST_MM[1]:
        small = width.max() * 10 <= CHEST_MM[1]
        yield Finding(
            "spacing-unit",
            "warning",
            f"{told}, which no chest fits{': it looks like centimetres' if small else ''}",
            "write the spacing in millimetres into scan and mask",
            facts.case,
        )
    elif facts.scan.unit in ("m", "um"):
        yield Finding(
            "spacing-unit",
            "warning",
            f"the header gives lengths in {facts.scan.unit}, but {told}",
            "set the unit of the header to millimetres",
            facts.case,
        )


def spacing_made_up(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A spacing of 1 mm along all axes, which is what is written where it is not known."""
    grid = facts.scan.grid if facts.scan else None
    if grid is not None and np.allclose(grid.spacing_mm, 1, rtol=0, atol=1e-6):
        yield Finding(
            "spacing-made-up",
            "note",
            "the spacing is 1 mm along all axes, which some writers put where they do not know it",
            "if it was not resampled to 1 mm, volumes and distances of this case mean nothing",
            facts.case,
        )


def few_planes(facts: CaseFacts, context: int) -> Iterator[Finding]:
    """Fewer planes than the network sees at once."""
    if facts.scan is None or facts.scan.shape is None:
        return
    planes, needed = facts.scan.shape[2], 2 * context + 1
    if planes < needed:
        yield Finding(
            "few-planes",
            "warning",
            f"{planes} {'plane' if planes == 1 else 'planes'}, but the network sees {needed} at "
            f"once (`train.context` {context}); the end planes are repeated",
            "take the case out, or lower `train.context`",
            facts.case,
        )


def _files(facts: CaseFacts) -> list[tuple[str, FileFacts]]:
    parts = ("scan", facts.scan), ("mask", facts.mask)
    return [(part, file) for part, file in parts if file is not None]


def _both(parts: list[str]) -> str:
    return f"{parts[0]} and {parts[1]} have" if len(parts) > 1 else f"the {parts[0]} has"


def _apart_mm(scan: Grid, mask: Grid) -> float:
    """The largest distance of two corner voxels that should be one."""
    corners = np.indices((2, 2, 2)).reshape(3, -1) * (np.array(scan.shape)[:, None] - 1)
    apart = (mask.affine - scan.affine) @ np.vstack([corners, np.ones(8)])
    return float(np.linalg.norm(apart[:3], axis=0).max())


def _skew_degrees(file: FileFacts) -> float | None:
    """How far two axes are off a right angle; None if they are not."""
    if file.grid is None:
        return None
    axes = file.grid.affine[:3, :3] / np.array(file.grid.spacing_mm)
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    return float(np.degrees(np.arcsin(min(cosine, 1.0)))) if cosine > SHEARED_COSINE else None


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(size) for size in shape)


def _numbers(values: np.ndarray) -> str:
    return "×".join(f"{value:.3g}" for value in values)
