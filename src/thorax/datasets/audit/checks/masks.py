"""Checks of masks: their labels, and their fit to the scan."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from thorax.datasets.audit.checks.intensity import effective_scale
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.audit.lung_labels import lung_labels, side_labels
from thorax.datasets.audit.mask_fit import MIRRORS
from thorax.datasets.dataset import DatasetSpec
from thorax.imaging.grid import FACES
from thorax.imaging.lung_sides import PLAUSIBLE_ML

CUT_MM2 = 100
"""Lung area on a face of the scan, in mm², above which the lungs are truncated: 1 cm²."""

BRIGHT_HU = -300
"""Mean above which a region is not lung; lungs in the scans examined had -570 to -790 HU."""

FAINT_HU = 100
"""Border contrast below which a mask does not follow the lungs; in the scans examined it was 360
to 540 HU, and 0 to 140 HU with the mask mirrored."""

MIRRORED_HU = 200
"""Border contrast above which a mirrored mask fits."""

MIRRORED_FACTOR = 2
"""Smallest ratio of the contrast of a mirrored mask to that of the mask as stored."""

_AXES = {"x": "left and right", "y": "front and back", "z": "head and feet"}


def unusable(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Values that are not labels."""
    if facts.labels and facts.labels.problem:
        yield Finding(
            "labels-unusable",
            "error",
            facts.labels.problem,
            "save the mask with one whole number per label; resample masks by nearest neighbour",
            facts.case,
        )


def unnamed(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Label values that are neither in a region nor ignored."""
    named = {0, *spec.ignored, *(value for values in spec.regions.values() for value in values)}
    voxels = facts.labels.voxels if facts.labels else {}
    unnamed_labels = {label: count for label, count in voxels.items() if label not in named}
    if unnamed_labels:
        tally = ", ".join(
            f"{label} ({count} voxels)" for label, count in sorted(unnamed_labels.items())
        )
        yield Finding(
            "labels-unnamed",
            "error",
            f"label values belong to no region: {tally}",
            "add them to a region of dataset.yaml, or to `ignored`",
            facts.case,
        )


def empty_regions(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Regions without voxels: a warning for the lungs, a note for others."""
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
                "check that this is the right mask" if of_lungs else "nothing, if this is true",
                facts.case,
            )


def cut_off(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs that are truncated by the end of the scan."""
    if not facts.labels or not facts.mask or facts.mask.grid is None:
        return
    x, y, z = facts.mask.grid.spacing_mm
    voxel_mm2 = np.repeat([y * z, x * z, x * y], 2)
    areas = dict(zip((face for pair in FACES for face in pair), voxel_mm2, strict=True))
    cut = {
        face: count * areas[face]
        for face, count in facts.labels.faces.items()
        if count * areas[face] > CUT_MM2
    }
    if cut:
        tally = ", ".join(f"{face} {mm2 / 100:.0f} cm²" for face, mm2 in cut.items())
        yield Finding(
            "lungs-cut-off",
            "warning",
            f"the lungs are truncated by the end of the scan: {tally}",
            "their volume is incomplete; use the scan without a crop, if there is one",
            facts.case,
        )


def lung_volume(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A lung volume outside the adult range; truncated lungs may be smaller."""
    volume_ml = facts.volume_ml(lung_labels(spec))
    low, high = PLAUSIBLE_ML
    if volume_ml and not low <= volume_ml <= high and not any(cut_off(facts, spec)):
        yield Finding(
            "lungs-volume",
            "warning",
            f"the lungs have {volume_ml:.3g} mL; adults have {low} to {high} mL",
            "check the mask and the spacing of the scan",
            facts.case,
        )


def not_dark(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A lung mask that does not cover lungs."""
    mean, contrasts = mean_hu(facts, lung_labels(spec), spec), contrasts_hu(facts, spec)
    if mean is None or not contrasts or best_mirror(contrasts):
        return
    if mean > BRIGHT_HU or contrasts[0] < FAINT_HU:
        yield Finding(
            "lungs-not-dark",
            "warning",
            f"the lung mask covers a mean of {mean:.0f} HU (lung: below {BRIGHT_HU}), and the "
            f"tissue just outside is {contrasts[0]:.0f} HU brighter (lung: above {FAINT_HU})",
            "check that mask and scan belong together and have the same orientation",
            facts.case,
        )


def mirrored(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A mask that fits its scan only after mirroring."""
    contrasts = contrasts_hu(facts, spec)
    axes = best_mirror(contrasts)
    if axes:
        swapped_ends = " and ".join(_AXES[axis] for axis in axes)
        yield Finding(
            "mask-mirrored",
            "error",
            f"the mask fits the scan only with {swapped_ends} swapped: the contrast at its border "
            f"is then {contrasts[MIRRORS.index(axes)]:.0f} HU instead of {contrasts[0]:.0f} HU",
            "flip the voxels of the mask or of the scan, or correct the affine that is wrong",
            facts.case,
        )


def swapped(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A region named left that is to the right of the one named right."""
    positions = [_position(facts, side_labels(spec, side)) for side in ("left", "right")]
    if None not in positions and positions[0] > positions[1]:  # type: ignore[operator]
        yield Finding(
            "sides-swapped",
            "error",
            "by the affine, the region named left lung is on the patient's right",
            "swap the label values, or correct the affine of scan and mask",
            facts.case,
        )


def mean_hu(facts: CaseFacts, labels: Sequence[int], spec: DatasetSpec) -> float | None:
    """Average the HU under some labels; None if there are no voxels or no intensity scale."""
    scale = effective_scale(facts, spec)
    if scale is None or not facts.labels:
        return None
    mean = _weighted_mean(facts.labels.voxels, facts.labels.means, labels)
    return None if mean is None else float(scale.to_hu(np.array([mean]))[0])


def contrasts_hu(facts: CaseFacts, spec: DatasetSpec) -> tuple[float, ...]:
    """Convert the border contrasts of the lungs to HU, one for each of `mask_fit.MIRRORS`."""
    scale = effective_scale(facts, spec)
    if scale is None or not facts.labels:
        return ()
    zero = scale.to_hu(np.zeros(1))[0]
    return tuple(float(hu - zero) for hu in scale.to_hu(np.array(facts.labels.border_contrasts)))


def best_mirror(contrasts: Sequence[float]) -> str:
    """Choose the axes along which a mask must be mirrored to fit; empty if it fits as stored."""
    if not contrasts:
        return ""
    best = int(np.argmax(contrasts))
    fits = contrasts[best] > MIRRORED_HU and contrasts[best] > MIRRORED_FACTOR * contrasts[0]
    return MIRRORS[best] if fits else ""


def _position(facts: CaseFacts, labels: Sequence[int]) -> float | None:
    """Position of labels between the patient's left and right, 0 to 1."""
    if not facts.labels:
        return None
    positions = {label: centre[0] for label, centre in facts.labels.centres.items()}
    return _weighted_mean(facts.labels.voxels, positions, labels)


def _weighted_mean(
    voxels: Mapping[int, int], values: Mapping[int, float], labels: Sequence[int]
) -> float | None:
    """Mean of the values of some labels, weighted by voxels; None if none has both."""
    present = [label for label in labels if label in values and label in voxels]
    total = sum(voxels[label] for label in present)
    return sum(voxels[label] * values[label] for label in present) / total if total else None
