"""Checks for one scan under two names, and one patient under two names."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from thorax.common.errors import InputError
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding, Severity
from thorax.datasets.audit.fingerprints import find_duplicates
from thorax.datasets.dataset import DatasetSpec

COPY = 0.999
"""Correlation of two fingerprints, after the best mirroring, above which they are of one scan;
copies have at least 0.9995, also rescaled or mirrored ones; two patients have at most 0.98."""

SAME_PATIENT = 0.993
"""Correlation above which two scans may be of one patient."""

_NUMBER = re.compile(r"[-_ .]*(scan|series|visit|ct|v|t)?[-_ .]?\d{1,2}$", re.IGNORECASE)

_PUNCTUATION = re.compile(r"[\W_]+")


def copies(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Duplicate scans, also mirrored or rescaled; and scans that may be of one patient."""
    for later, earlier, likeness in _pairs(facts):
        patients = {_patient(spec, case.case) for case in (later, earlier)}
        same_file = later.scan and earlier.scan and later.scan.sha256 == earlier.scan.sha256
        if same_file or likeness >= COPY:
            how = "the same file as" if same_file else "a copy of"
            yield Finding(
                "scan-duplicate",
                "error" if same_file and len(patients) > 1 else "warning",
                f"the scan is {how} that of `{earlier.case}`"
                + ("" if same_file else f", except for scale or direction (r = {likeness:.4f})"),
                _duplicate_advice(patients),
                later.case,
            )
        elif len(patients) > 1:
            yield Finding(
                "patient-twice",
                "warning",
                f"the scan is so similar to that of `{earlier.case}` (r = {likeness:.4f}) that "
                "both may be of one patient",
                _duplicate_advice(patients),
                later.case,
            )


def similar_names(facts: Sequence[CaseFacts], spec: DatasetSpec) -> Iterator[Finding]:
    """Patients whose names differ only in case, punctuation or a trailing scan number."""
    patients = sorted({_patient(spec, case.case) for case in facts})
    by_spelling = _groups(patients, lambda name: _PUNCTUATION.sub("", name.casefold()))
    by_stem = _groups(patients, lambda name: _NUMBER.sub("", name.casefold()))
    for group in by_spelling:
        yield _similar_names(group, "warning", "case or punctuation")
    # If most names share a stem, the number identifies the patient.
    stems = len({_NUMBER.sub("", name.casefold()) for name in patients})
    for group in by_stem:
        if len(group) <= 4 and stems >= 3 and group not in by_spelling and _has_id(group[0]):
            yield _similar_names(group, "note", "a trailing number")


def _pairs(facts: Sequence[CaseFacts]) -> Iterator[tuple[CaseFacts, CaseFacts, float]]:
    """Pair each case that is like an earlier one with the most similar earlier one."""
    cases = [case for case in facts if case.values and case.values.fingerprint]
    fingerprints = [case.values.fingerprint for case in cases if case.values]
    for later, earlier, likeness in find_duplicates(fingerprints, least=SAME_PATIENT):
        yield cases[later], cases[earlier], likeness


def _patient(spec: DatasetSpec, case: str) -> str:
    try:
        return spec.patient_of(case)
    except InputError:
        return case


def _duplicate_advice(patients: set[str]) -> str:
    if len(patients) == 1:
        return "remove one of them: it counts twice"
    return (
        "remove one, or set `patient` in dataset.yaml so that both are one patient: else one may "
        "train and the other test"
    )


def _groups(names: Sequence[str], key: Callable[[str], str]) -> list[list[str]]:
    groups = defaultdict(list)
    for name in names:
        groups[key(name)].append(name)
    return [group for _, group in sorted(groups.items()) if len(group) > 1]


def _has_id(name: str) -> bool:
    """Check that a name without its trailing number still contains a number."""
    return any(sign.isdigit() for sign in _NUMBER.sub("", name))


def _similar_names(group: Sequence[str], severity: Severity, difference: str) -> Finding:
    return Finding(
        "patient-twice",
        severity,
        f"the names of patients {', '.join(group)} differ only in {difference}",
        "if they are one patient, set `patient` in dataset.yaml accordingly: else one scan may "
        "train and the other test",
    )
