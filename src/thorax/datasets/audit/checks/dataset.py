"""Checks across cases: problems that only a comparison reveals."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from thorax.common.text import listed
from thorax.datasets.audit.checks import duplicates, outliers
from thorax.datasets.audit.checks.intensity import declared_scale
from thorax.datasets.audit.checks.masks import best_mirror, contrasts_hu
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.audit.lung_labels import lung_labels
from thorax.datasets.dataset import DatasetSpec

SIDE_DISTANCE = 0.2
"""Distance of two labels, as a share of the width, from which they are a right and a left one."""

LEAST_CASES = 5
"""Cases with lungs on both sides from which a common order is concluded."""

CASE_HANDEDNESS, DATASET_HANDEDNESS = -0.03, 0.01
"""A case below the first is reported, if the median of the dataset is above the second."""


def check_together(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Run all checks that need more than one case.

    Args:
        facts: Facts of all cases, sorted by name.
        spec: Content of `dataset.yaml`.
    """
    for check in (
        duplicates.copies,
        duplicates.similar_names,
        mixture,
        outliers.volumes,
        outliers.spacings,
        outliers.intensities,
        mixed_sides,
        doubtful_sides,
        unused,
    ):
        yield from check(facts, spec)


def mixture(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Scans of several intensity scales; a note if `dataset.yaml` states them."""
    kinds = Counter(case.values.kind for case in facts if case.values and case.values.kind)
    if len(kinds) < 2:
        return
    declared = len({str(declared_scale(spec, case.case)) for case in facts}) >= len(kinds)
    tally = ", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items()))
    yield Finding(
        "intensity-mixture",
        "note" if declared else "warning",
        f"the scans of this dataset have several intensity scales ({tally})",
        "compare the scores of each group: all are converted to HU, but 8-bit exports are less "
        "exact"
        if declared
        else "state the intensity scale of each group in dataset.yaml, under `intensity`",
    )


def mixed_sides(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Cases whose two lung labels are the other way round than in most cases."""
    for first, second in itertools.combinations(lung_labels(spec), 2):
        on_right = {
            case.case: distance > 0
            for case in facts
            if (distance := _distance(case, first, second)) is not None
            and abs(distance) > SIDE_DISTANCE
        }
        counts = Counter(on_right.values())
        if len(on_right) < LEAST_CASES or len(counts) < 2:
            continue
        if min(counts.values()) * 4 > len(on_right):
            continue
        usual = max(counts, key=lambda side: counts[side])
        for case in sorted(case for case, side in on_right.items() if side != usual):
            yield Finding(
                "sides-mixed",
                "warning",
                f"label {first} is to the {'left' if usual else 'right'} of label {second}, but to "
                f"the {'right' if usual else 'left'} in the other cases",
                "the labels are swapped, or scan and mask are mirrored: fix whichever is wrong",
                case,
            )


def doubtful_sides(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs that look mirrored: the larger lung on the left, the heart on the right.

    One case is weak evidence. It is reported if the median of the dataset is as expected; the
    dataset is reported if its median is reversed.
    """
    values = {
        case.case: case.labels.handedness
        for case in facts
        if case.labels
        and case.labels.handedness is not None
        and not best_mirror(contrasts_hu(case, spec))
    }
    if len(values) < LEAST_CASES:
        return
    median = float(np.median(list(values.values())))
    if median < -DATASET_HANDEDNESS:
        yield Finding(
            "sides-doubtful",
            "warning",
            f"in most of {len(values)} cases the larger lung is on the left and the heart on the "
            "right: left and right may be swapped in all of them",
            "look at a case in a viewer that shows the side: the heart must be on the left",
        )
    elif median > DATASET_HANDEDNESS:
        for case in sorted(case for case, value in values.items() if value < CASE_HANDEDNESS):
            yield Finding(
                "sides-doubtful",
                "warning",
                "the larger lung is on the left and the heart on the right, unlike in the rest of "
                "the dataset: left and right may be swapped, or disease has made a lung smaller",
                "look at the case in a viewer that shows the side: the heart must be on the left",
                case,
            )


def unused(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Regions without voxels in the whole dataset, and label values that never occur."""
    masks = [case.labels for case in facts if case.labels and not case.labels.problem]
    present = {label for labels in masks for label in labels.voxels}
    for region, values in spec.regions.items() if masks else ():
        absent = sorted(set(values) - present)
        if len(absent) == len(set(values)):
            yield Finding(
                "region-unused",
                "warning",
                f"no mask contains a voxel of `{region}` (label {listed(absent)})",
                "it cannot be trained: correct its label values in dataset.yaml, or remove it",
            )
        elif absent:
            yield Finding(
                "label-unused",
                "note",
                f"no mask contains label {listed(absent)} of `{region}`",
                "nothing, if this is true; else correct the label values in dataset.yaml",
            )


def _distance(facts: CaseFacts, first: int, second: int) -> float | None:
    """Distance of a label to the right of another, as a share of the width."""
    centres = facts.labels.centres if facts.labels else {}
    if first not in centres or second not in centres:
        return None
    return centres[first][0] - centres[second][0]
