"""From the facts of all cases to findings: what shows only when cases are compared."""

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from thorax.datasets.audit.checks import duplicates, outliers
from thorax.datasets.audit.checks.intensity import declared_domain
from thorax.datasets.audit.checks.masks import fits_hu, mirror_of
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.audit.lung_labels import lung_labels
from thorax.datasets.dataset import DatasetSpec

SIDED = 0.2
"""Share of the width by which two labels must lie apart to be a right and a left one."""

AGREE = 5
"""Cases with two such labels, at least, that a common order is told from."""

LEAN, COMMON_LEAN = -0.03, 0.01
"""A case leans the other way below the first, if the others lie above the second on the average."""


def check_together(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Find all faults that need more than one case.

    Args:
        facts: Of all cases, sorted by name.
        spec: What the dataset says of its files.
    """
    for check in (
        duplicates.copies,
        duplicates.same_names,
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
    """Scans of one dataset whose values mean different things, unless `dataset.yaml` says so."""
    kinds = Counter(each.values.kind for each in facts if each.values and each.values.kind)
    if len(kinds) < 2:
        return
    told = len({str(declared_domain(spec, each.case)) for each in facts}) >= len(kinds)
    listed = ", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items()))
    yield Finding(
        "intensity-mixture",
        "note" if told else "warning",
        f"scans of several intensities are in this dataset ({listed})",
        "look at the scores of each apart: thorax brings them to HU, but an export has lost some"
        if told
        else "say in dataset.yaml, under `intensity`, what the values of each mean",
    )


def mixed_sides(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Cases whose two lung labels lie the other way round than in most."""
    for one, other in itertools.combinations(lung_labels(spec), 2):
        ways = {
            each.case: apart > 0
            for each in facts
            if (apart := _apart(each, one, other)) is not None and abs(apart) > SIDED
        }
        counts = Counter(ways.values())
        if len(ways) < AGREE or len(counts) < 2 or min(counts.values()) * 4 > len(ways):
            continue
        common = max(counts, key=lambda way: counts[way])
        for case in sorted(case for case, way in ways.items() if way != common):
            yield Finding(
                "sides-mixed",
                "warning",
                f"label {one} lies to the {'left' if common else 'right'} of label {other}, but to "
                f"the {'right' if common else 'left'} in the other cases",
                "labels are swapped, or scan and mask are mirrored: mend the one that is wrong",
                case,
            )


def doubtful_sides(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs that look mirrored: the larger lung and the far side of the heart are on the left.

    One case tells little, so it is told of where the others lean the right way, and the dataset
    where it leans the wrong way as a whole.
    """
    leans = {
        each.case: each.labels.lean
        for each in facts
        if each.labels and each.labels.lean is not None and not mirror_of(fits_hu(each, spec))
    }
    if len(leans) < AGREE:
        return
    middle = float(np.median(list(leans.values())))
    if middle < -COMMON_LEAN:
        yield Finding(
            "sides-doubtful",
            "warning",
            f"in most of {len(leans)} cases the larger lung is on the left and the heart on the "
            "right: left and right may be swapped in all of them",
            "look at one in a viewer that shows the side: the heart lies to the left",
        )
    elif middle > COMMON_LEAN:
        for case in sorted(case for case, value in leans.items() if value < LEAN):
            yield Finding(
                "sides-doubtful",
                "warning",
                "the larger lung is on the left and the heart on the right, other than in the rest "
                "of the dataset: left and right may be swapped, or a lung is small from disease",
                "look at it in a viewer that shows the side: the heart lies to the left",
                case,
            )


def unused(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Regions without voxels in the whole dataset, and label values that never occur."""
    masks = [each.labels for each in facts if each.labels and not each.labels.problem]
    found = {label for labels in masks for label in labels.voxels}
    for region, values in spec.regions.items() if masks else ():
        absent = sorted(set(values) - found)
        if len(absent) == len(set(values)):
            yield Finding(
                "region-unused",
                "warning",
                f"no mask holds a voxel of `{region}` (label {_listed(absent)})",
                "nothing can be learnt of it: mend its label values in dataset.yaml, or drop it",
            )
        elif absent:
            yield Finding(
                "label-unused",
                "note",
                f"no mask holds label {_listed(absent)} of `{region}`",
                "nothing, if it is true; else mend the label values in dataset.yaml",
            )


def _listed(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)


def _apart(facts: CaseFacts, one: int, other: int) -> float | None:
    """How far a label lies to the right of another, as a share of the width."""
    centres = facts.labels.centres if facts.labels else {}
    if one not in centres or other not in centres:
        return None
    return centres[one][0] - centres[other][0]
