"""From the facts of all cases to findings: what shows only when cases are compared."""

import base64
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from thorax.audit.checks_masks import mean_hu, volume_ml
from thorax.audit.facts import CaseFacts
from thorax.audit.findings import Finding
from thorax.audit.lungs import lung_labels
from thorax.audit.measuring import SKETCH
from thorax.cases import DatasetSpec
from thorax.errors import InputError
from thorax.intensity import Domain

COPY = 0.999
"""Correlation of two sketches, mirrored as fits best, from which on they show one scan: a copy has
0.9995 and more, also rescaled or mirrored; two patients at most 0.98."""
ALIKE = 0.993
"""The same, from which on they show one patient."""
OUTLIER = 5.0
"""Robust z-score above which a case is told of: 0.6745 · distance from the median / MAD (Iglewicz
and Hoaglin, 1993, who take 3.5; but lungs are less alike than what they had in mind)."""
ENOUGH = 8
"""Cases below which none is called an outlier."""
LEAST_MAD = 0.1
"""MAD at least, as a share of a volume or a spacing: like cases make no other stand out."""
LEAST_MAD_HU = 30
SIDED = 0.2
"""Share of the width by which two labels must lie apart to be a right and a left one."""
AGREE = 5
"""Cases with two such labels, at least, that a common order is told from."""
LEAN, COMMON_LEAN = -0.03, 0.01
"""A case leans the other way below the first, if the others lie above the second on the average."""

_NUMBER = re.compile(r"[-_ .]*(scan|series|visit|ct|v|t)?[-_ .]?\d{1,2}$", re.IGNORECASE)
_SOUND = re.compile(r"[\W_]+")


def check_together(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Find all faults that need more than one case.

    Args:
        facts: Of all cases, sorted by name.
        spec: What the dataset says of its files.
    """
    for check in (
        copies,
        same_names,
        mixture,
        volumes,
        spacings,
        intensities,
        mixed_sides,
        doubtful_sides,
        unused,
    ):
        yield from check(facts, spec)


def copies(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Scans that are one by their content, also mirrored or rescaled; and patients that are."""
    for one, other, likeness in _pairs(facts):
        patients = {_patient(spec, case.case) for case in (one, other)}
        same_file = one.scan and other.scan and one.scan.sha256 == other.scan.sha256
        if same_file or likeness >= COPY:
            how = "the same file as" if same_file else "a copy of"
            yield Finding(
                "scan-duplicate",
                "error" if same_file and len(patients) > 1 else "warning",
                f"the scan is {how} that of `{other.case}`"
                + ("" if same_file else f", but for scale or direction (r = {likeness:.4f})"),
                _one_patient(patients),
                one.case,
            )
        elif len(patients) > 1:
            yield Finding(
                "patient-twice",
                "warning",
                f"the scan is so much like that of `{other.case}` (r = {likeness:.4f}) that both "
                "may be of one patient",
                _one_patient(patients),
                one.case,
            )


def same_names(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Patients whose names differ in case, punctuation or a trailing scan number alone."""
    patients = sorted({_patient(spec, each.case) for each in facts})
    spelled = _grouped(patients, lambda name: _SOUND.sub("", name.casefold()))
    numbered = _grouped(patients, lambda name: _NUMBER.sub("", name.casefold()))
    for group in spelled:
        yield _named_alike(group, "warning", "case or punctuation")
    # Where most names share a stem, the number tells patients apart.
    stems = len({_NUMBER.sub("", name.casefold()) for name in patients})
    for group in numbered:
        if len(group) <= 4 and stems >= 3 and group not in spelled and _tells(group[0]):
            yield _named_alike(group, "note", "a trailing number")


def mixture(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Scans of one dataset whose values mean different things, unless `dataset.yaml` says so."""
    kinds = Counter(each.values.kind for each in facts if each.values and each.values.kind)
    if len(kinds) < 2:
        return
    told = len({str(_declared(spec, each.case)) for each in facts}) >= len(kinds)
    listed = ", ".join(f"{kind}: {count}" for kind, count in sorted(kinds.items()))
    yield Finding(
        "intensity-mixture",
        "note" if told else "warning",
        f"scans of several intensities are in this dataset ({listed})",
        "look at the scores of each apart: thorax brings them to HU, but an export has lost some"
        if told
        else "say in dataset.yaml, under `intensity`, what the values of each mean",
    )


def volumes(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs that are much larger or smaller than those of the others."""
    found = {each.case: volume_ml(each, spec) for each in facts}
    for case, value, middle in _outliers({k: v for k, v in found.items() if v}, _share):
        yield Finding(
            "outlier-volume",
            "warning",
            f"the lungs have {value:.0f} mL, where the median of the dataset is {middle:.0f} mL",
            "look at the mask, and at the spacing of the scan",
            case,
        )


def spacings(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Voxels much larger or smaller than those of the others, in the plane or between planes."""
    grids = {each.case: each.scan.grid for each in facts if each.scan and each.scan.grid}
    for where, axis in (("in the plane", 0), ("between planes", 2)):
        found = {case: grid.spacing_mm[axis] for case, grid in grids.items() if grid}
        for case, value, middle in _outliers(found, _ratio):
            yield Finding(
                "outlier-spacing",
                "warning",
                f"the spacing {where} is {value:.3g} mm, where the median of the dataset is "
                f"{middle:.3g} mm",
                "look whether the header is right; if it is, the case differs from the others",
                case,
            )


def intensities(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Lungs much brighter or darker than those of the others."""
    labels = lung_labels(spec)
    means = {each.case: mean_hu(each, labels, spec) for each in facts}
    known = {case: value for case, value in means.items() if value is not None}
    for case, value, middle in _outliers(known, _hu):
        yield Finding(
            "outlier-intensity",
            "warning",
            f"the lungs have a mean of {value:.0f} HU, where the median of the dataset is "
            f"{middle:.0f} HU",
            "look whether scan and mask belong together, and whether its values are HU",
            case,
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
        if each.labels and each.labels.lean is not None
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


def likeness(sketches: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Correlation of sketches with others, the largest of all ways to mirror the others.

    Args:
        sketches: Shape ``(A, 12, 12, 12)``.
        others: Shape ``(B, 12, 12, 12)``.

    Returns:
        Shape ``(A, B)``, without sign: a negative is as like as a copy.
    """
    best = np.zeros((len(sketches), len(others)), dtype=np.float32)
    here = _standard(sketches)
    for count in range(4):
        for axes in itertools.combinations((1, 2, 3), count):
            there = _standard(np.flip(others, axes))
            np.maximum(best, np.abs(here @ there.T), out=best)
    return best


_BLOCK = 512
"""Cases compared with all others at a time, so that 10,000 need no matrix of 10,000 × 10,000."""


def _pairs(facts: Sequence[CaseFacts]) -> Iterator[tuple[CaseFacts, CaseFacts, float]]:
    """Each case that is like an earlier one, with the one that it is most like."""
    drawn = [each for each in facts if each.values and each.values.sketch]
    if len(drawn) < 2:
        return
    sketches = np.stack([_sketch(each) for each in drawn])
    for later, earlier in _candidates(_folded(sketches)):
        alike = likeness(sketches[[later]], sketches[earlier])[0]
        best = int(alike.argmax())
        if alike[best] >= ALIKE:
            yield drawn[later], drawn[int(earlier[best])], float(alike[best])


def _candidates(folded: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Cases with the earlier ones that may be like them.

    To fold is to project, so folded sketches are no further apart than the sketches themselves
    once mirrored as fits best, and those of correlation r are √(2 - 2r) apart: nothing is missed.
    """
    squares = (folded**2).sum(axis=1)
    for start in range(0, len(folded), _BLOCK):
        block = folded[start : start + _BLOCK]
        apart = squares[start : start + _BLOCK, None] + squares - 2 * np.abs(block @ folded.T)
        for row, near in enumerate(apart <= 2 - 2 * ALIKE + 1e-5):
            earlier = np.flatnonzero(near[: start + row])
            if len(earlier):
                yield start + row, earlier


def _folded(sketches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sketches averaged over all ways to mirror them: one octant, of the weight of eight."""
    whole = _standard(sketches).reshape(sketches.shape)
    for axis in (1, 2, 3):
        whole = (whole + np.flip(whole, axis)) / 2
    half = SKETCH // 2
    return whole[:, :half, :half, :half].reshape(len(sketches), -1) * np.float32(np.sqrt(8))


def _sketch(facts: CaseFacts) -> NDArray[np.float32]:
    assert facts.values is not None
    grey = np.frombuffer(base64.b64decode(facts.values.sketch), dtype=np.uint8)
    return grey.reshape((SKETCH,) * 3).astype(np.float32)


def _standard(sketches: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = sketches.reshape(len(sketches), -1)
    centred = flat - flat.mean(axis=1, keepdims=True)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)


def _patient(spec: DatasetSpec, case: str) -> str:
    try:
        return spec.patient_of(case)
    except InputError:
        return case


def _declared(spec: DatasetSpec, case: str) -> Domain | None:
    try:
        return spec.domain_of(case)
    except InputError:
        return None


def _one_patient(patients: set[str]) -> str:
    if len(patients) == 1:
        return "take one of them out: it counts twice"
    return "take one out, or give both one patient (`patient` in dataset.yaml): folds would leak"


def _grouped(names: Sequence[str], key: Callable[[str], str]) -> list[list[str]]:
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return [group for _, group in sorted(groups.items()) if len(group) > 1]


def _tells(name: str) -> bool:
    """Whether a name without its trailing number still tells a patient: it has a number left."""
    return any(sign.isdigit() for sign in _NUMBER.sub("", name))


def _named_alike(group: Sequence[str], weight: str, what: str) -> Finding:
    return Finding(
        "patient-twice",
        "warning" if weight == "warning" else "note",
        f"the names of patients {_listed(group)} differ in {what} alone",
        "if they are one, say so by `patient` in dataset.yaml: folds would leak",
    )


def _listed(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)


def _apart(facts: CaseFacts, one: int, other: int) -> float | None:
    """How far a label lies to the right of another, as a share of the width."""
    centres = facts.labels.centres if facts.labels else {}
    if one not in centres or other not in centres:
        return None
    return centres[one][0] - centres[other][0]


def _share(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    return values, LEAST_MAD * float(np.median(values))


def _ratio(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    return np.log(values), float(np.log1p(LEAST_MAD))


def _hu(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    return values, LEAST_MAD_HU


def _outliers(
    known: Mapping[str, float],
    scale: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], float]],
) -> Iterator[tuple[str, float, float]]:
    """Cases that stand out, with their value and the median.

    Args:
        known: Case → value.
        scale: Gives the values as they are to be compared, and the least MAD that is taken.
    """
    if len(known) < ENOUGH:
        return
    values = np.array(list(known.values()))
    compared, least = scale(values)
    away = np.abs(compared - np.median(compared))
    scores = 0.6745 * away / max(float(np.median(away)), least)
    for (case, value), score in zip(known.items(), scores, strict=True):
        if score > OUTLIER:
            yield case, value, float(np.median(values))
