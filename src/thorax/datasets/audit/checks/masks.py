"""Faults of masks: their labels, and how they lie over the scan."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from thorax.datasets.audit.checks.intensity import domain_of
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.audit.lung_labels import lung_labels, side_labels
from thorax.datasets.audit.mask_fit import MIRRORS
from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.grid import FACES
from thorax.imaging.lung_sides import PLAUSIBLE_ML

CUT_MM2 = 100
"""Lung in the last voxels of the scan, in mm², above which it was cut off: 1 cm²."""

BRIGHT_HU = -300
"""Mean above which a region is no lung; in the scans that were looked at it was -570 to -790."""

FAINT_HU = 100
"""Step from lung to what is around below which a mask does not follow the lungs: in the scans that
were looked at it was 360 to 540 HU, and 0 to 140 with the mask mirrored."""

MIRRORED_HU = 200
"""The same for a mirrored mask, above which it fits."""

MIRRORED_FACTOR = 2
"""How many times more clearly it must fit mirrored than as it is."""

_AXES = {"x": "left and right", "y": "front and back", "z": "head and feet"}


def unusable(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Values that are no labels."""
    if facts.labels and facts.labels.problem:
        yield Finding(
            "labels-unusable",
            "error",
            facts.labels.problem,
            "save the mask with one whole number a label; nearest neighbour if it was resampled",
            facts.case,
        )


def unnamed(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Label values that no region names and that are not ignored."""
    named = {0, *spec.ignored, *(value for values in spec.regions.values() for value in values)}
    found = facts.labels.voxels if facts.labels else {}
    stray = {label: count for label, count in found.items() if label not in named}
    if stray:
        listed = ", ".join(f"{label} ({count} voxels)" for label, count in sorted(stray.items()))
        yield Finding(
            "labels-unnamed",
            "error",
            f"label values belong to no region: {listed}",
            "name them in a region of dataset.yaml, or under `ignored`",
            facts.case,
        )


def empty_regions(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Regions without voxels: told of the lungs as a fault, of others as something to know."""
    if not facts.labels or facts.labels.problem:
        return
    lungs = set(lung_labels(spec))
    for region, values in spec.regions.items():
        if not any(value in facts.labels.voxels for value in values):
            of_lungs = set(values) >= lungs
            yield Finding(
                "region-empty",
                "warning" if of_lungs else "note",
                f"no voxel belongs to `{region}`",
                "look whether the mask is the right one" if of_lungs else "nothing, if it is true",
                facts.case,
            )


def cut_off(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs that reach the end of the scan."""
    if not facts.labels or not facts.mask or facts.mask.grid is None:
        return
    x, y, z = facts.mask.grid.spacing_mm
    areas = dict(
        zip(
            (face for pair in FACES for face in pair),
            np.repeat([y * z, x * z, x * y], 2),
            strict=True,
        )
    )
    cut = {
        face: count * areas[face]
        for face, count in facts.labels.faces.items()
        if count * areas[face] > CUT_MM2
    }
    if cut:
        listed = ", ".join(f"{face} {mm2 / 100:.0f} cm²" for face, mm2 in cut.items())
        yield Finding(
            "lungs-cut-off",
            "warning",
            f"the lungs reach the end of the scan: {listed}",
            "their volume is not whole; take the scan without a crop, if there is one",
            facts.case,
        )


def volume(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs that are no adult's by their volume; those that are cut off may be smaller."""
    found = facts.volume_ml(lung_labels(spec))
    low, high = PLAUSIBLE_ML
    if found and not low <= found <= high and not any(cut_off(facts, spec)):
        yield Finding(
            "lungs-volume",
            "warning",
            f"the lungs have {found:.3g} mL, unlike an adult's ({low} to {high} mL)",
            "look at the mask, and at the spacing of the scan",
            facts.case,
        )


def not_dark(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A mask of the lungs that does not lie on lungs."""
    mean, fit = mean_hu(facts, lung_labels(spec), spec), fits_hu(facts, spec)
    if mean is None or not fit or mirror_of(fit):
        return
    if mean > BRIGHT_HU or fit[0] < FAINT_HU:
        yield Finding(
            "lungs-not-dark",
            "warning",
            f"the voxels under the mask of the lungs have a mean of {mean:.0f} HU, and those just "
            f"outside are {fit[0]:.0f} HU brighter (a lung: below {BRIGHT_HU}, above {FAINT_HU})",
            "look whether mask and scan belong together and lie the same way",
            facts.case,
        )


def mirrored(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A mask that fits its scan once it is mirrored."""
    fit = fits_hu(facts, spec)
    axes = mirror_of(fit)
    if axes:
        named = " and ".join(_AXES[axis] for axis in axes)
        yield Finding(
            "mask-mirrored",
            "error",
            f"the mask fits the scan with {named} swapped: its border is then a step of "
            f"{fit[MIRRORS.index(axes)]:.0f} HU, and {fit[0]:.0f} HU as it is",
            "turn the voxels of the mask, or of the scan, or mend the affine that is wrong",
            facts.case,
        )


def swapped(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A region named left that lies to the right of the one named right."""
    places = [_place(facts, side_labels(spec, side)) for side in ("left", "right")]
    if None not in places and places[0] > places[1]:  # type: ignore[operator]
        yield Finding(
            "sides-swapped",
            "error",
            "by the affine, the lung that is named left lies on the patient's right",
            "swap the label values, or mend the affine of scan and mask",
            facts.case,
        )


def mean_hu(facts: CaseFacts, labels: Sequence[int], spec: DatasetSpec) -> float | None:
    """Mean HU under some labels; None if there is none, or their meaning is unknown."""
    domain = domain_of(facts, spec)
    if domain is None or not facts.labels:
        return None
    mean = _weighted(facts.labels.voxels, facts.labels.means, labels)
    return None if mean is None else float(domain.to_hu(np.array([mean]))[0])


def fits_hu(facts: CaseFacts, spec: DatasetSpec) -> tuple[float, ...]:
    """Steps across the border of the lungs in HU, for each of `mask_fit.MIRRORS`."""
    domain = domain_of(facts, spec)
    if domain is None or not facts.labels:
        return ()
    zero = domain.to_hu(np.zeros(1))[0]
    return tuple(float(hu - zero) for hu in domain.to_hu(np.array(facts.labels.steps)))


def mirror_of(fit: Sequence[float]) -> str:
    """Axes along which a mask must be mirrored to fit; empty if it fits best as it is."""
    if not fit:
        return ""
    best = int(np.argmax(fit))
    clear = fit[best] > MIRRORED_HU and fit[best] > MIRRORED_FACTOR * fit[0]
    return MIRRORS[best] if clear else ""


def _place(facts: CaseFacts, labels: Sequence[int]) -> float | None:
    """Where labels lie between the patient's left and right, 0 to 1."""
    if not facts.labels:
        return None
    places = {label: centre[0] for label, centre in facts.labels.centres.items()}
    return _weighted(facts.labels.voxels, places, labels)


def _weighted(
    voxels: Mapping[int, int], values: Mapping[int, float], labels: Sequence[int]
) -> float | None:
    """Mean of what is known of some labels, weighted by their voxels."""
    known = [label for label in labels if label in values and label in voxels]
    total = sum(voxels[label] for label in known)
    return sum(voxels[label] * values[label] for label in known) / total if total else None
