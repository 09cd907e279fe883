"""One scan under two names, and one patient under two."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from thorax.common.errors import InputError
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding, Weight
from thorax.datasets.audit.fingerprints import find_duplicates
from thorax.datasets.dataset import DatasetSpec

COPY = 0.999
"""Correlation of two sketches, mirrored as fits best, from which on they show one scan: a copy has
0.9995 and more, also rescaled or mirrored; two patients at most 0.98."""

ALIKE = 0.993
"""The same, from which on they show one patient."""

_NUMBER = re.compile(r"[-_ .]*(scan|series|visit|ct|v|t)?[-_ .]?\d{1,2}$", re.IGNORECASE)

_SOUND = re.compile(r"[\W_]+")


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


def _pairs(facts: Sequence[CaseFacts]) -> Iterator[tuple[CaseFacts, CaseFacts, float]]:
    """Each case that is like an earlier one, with the one that it is most like."""
    drawn = [(each, each.values.sketch) for each in facts if each.values and each.values.sketch]
    for later, earlier, likeness in find_duplicates([sketch for _, sketch in drawn], least=ALIKE):
        yield drawn[later][0], drawn[earlier][0], likeness


def _patient(spec: DatasetSpec, case: str) -> str:
    try:
        return spec.patient_of(case)
    except InputError:
        return case


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


def _named_alike(group: Sequence[str], weight: Weight, what: str) -> Finding:
    return Finding(
        "patient-twice",
        weight,
        f"the names of patients {', '.join(group)} differ in {what} alone",
        "if they are one, say so by `patient` in dataset.yaml: folds would leak",
    )
