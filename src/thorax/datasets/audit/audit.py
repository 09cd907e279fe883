"""Audit a dataset: measure its cases in parallel, check each case, and compare all cases."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from thorax.common.errors import InputError
from thorax.common.files import file_sha256, write_text
from thorax.common.parallel import in_threads
from thorax.common.text import counted, listed
from thorax.datasets.audit.checks.case import check_case
from thorax.datasets.audit.checks.dataset import check_together
from thorax.datasets.audit.facts import FORMAT_VERSION, CaseFacts, FileFacts
from thorax.datasets.audit.findings import Finding, Severity, by_severity
from thorax.datasets.audit.lung_labels import lung_labels
from thorax.datasets.audit.measure import measure
from thorax.datasets.dataset import PARTS, SPEC, CaseFiles, DatasetSpec, files_in, load_spec
from thorax.io import NIFTI_SUFFIXES, case_name

FILE = "audit.json"

_OTHER_FORMATS = (".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".img", ".hdr", ".npz", ".npy")

_FACTS = TypeAdapter(tuple[CaseFacts, ...])

_FINDINGS = TypeAdapter(tuple[Finding, ...])


@dataclass(frozen=True)
class Audit:
    """Result of an audit.

    Args:
        dataset: Name of the dataset.
        facts: Facts of the cases, sorted by name.
        findings: Findings, sorted by severity.
    """

    dataset: str
    facts: tuple[CaseFacts, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings because of which the dataset cannot be used."""
        return self.with_severity("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """Suspicious findings."""
        return self.with_severity("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """Findings for information only."""
        return self.with_severity("note")

    def with_severity(self, severity: Severity) -> tuple[Finding, ...]:
        """Select the findings of one severity."""
        return tuple(finding for finding in self.findings if finding.severity == severity)


def audit_dataset(
    folder: Path,
    *,
    context: int | None = None,
    cached: Mapping[str, CaseFacts] | None = None,
    workers: int | None = None,
) -> Audit:
    """Audit a dataset; no file is changed.

    Args:
        folder: Contains `dataset.yaml`, `scans/` and `masks/`.
        context: Neighbouring planes that the network uses on each side; None: any number of planes
            is accepted.
        cached: As for `measure_cases`.
        workers: As for `measure_cases`.

    Returns:
        The same for the same files, in whatever order the cases were measured.

    Raises:
        InputError: `dataset.yaml` cannot be used, or there is no scan.
    """
    spec = load_spec(folder / SPEC)
    spec.as_regions()
    spec.as_sides()
    facts = measure_cases(_cases(folder), spec, cached=cached, workers=workers)
    findings = [*check_facts(facts, spec, context=context), *_ignored_files(folder)]
    return Audit(folder.absolute().name, facts, tuple(sorted(findings, key=by_severity)))


def measure_cases(
    cases: Sequence[CaseFiles],
    spec: DatasetSpec,
    *,
    cached: Mapping[str, CaseFacts] | None = None,
    workers: int | None = None,
) -> tuple[CaseFacts, ...]:
    """Measure cases in parallel.

    Args:
        cases: Their files.
        spec: States which labels are lung.
        cached: Case name → facts, as `read_facts` returns them. Cases whose files still have the
            same digests are not measured again.
        workers: Cases measured at the same time; the number of cores unless given.

    Returns:
        Facts in the order of the cases.
    """
    work = partial(_facts, spec=spec, cached=cached or {})
    return tuple(in_threads(work, cases, title="audit", size=workers))


def check_facts(
    facts: Sequence[CaseFacts], spec: DatasetSpec, *, context: int | None = None
) -> list[Finding]:
    """Run all checks of single cases and across cases.

    Args:
        facts: Facts of all cases, sorted by name.
        spec: Content of `dataset.yaml`.
        context: As for `audit_dataset`.

    Returns:
        Findings, sorted by severity.
    """
    # A region without voxels in any case is reported once, not for each case.
    used = _used_regions(spec, facts)
    findings = [finding for case in facts for finding in check_case(case, used, context=context)]
    return sorted([*findings, *check_together(facts, spec)], key=by_severity)


def audit_json(audit: Audit, spec: DatasetSpec) -> str:
    """Format an audit as JSON: the same bytes for the same files; no path, time or patient."""
    content = {
        "format_version": FORMAT_VERSION,
        "dataset": audit.dataset,
        "lungs": lung_labels(spec),
        "facts": _FACTS.dump_python(audit.facts, mode="json", exclude_defaults=True),
        "findings": _FINDINGS.dump_python(audit.findings, mode="json"),
    }
    return json.dumps(content, indent=1) + "\n"


def save_audit(folder: Path, audit: Audit, spec: DatasetSpec) -> None:
    """Write ``audit.json``."""
    write_text(folder / FILE, audit_json(audit, spec))


def read_facts(folder: Path, spec: DatasetSpec) -> dict[str, CaseFacts]:
    """Read the facts of an earlier ``audit.json``; empty if it is missing, damaged or outdated.

    Returns:
        Case name → facts.
    """
    try:
        content = json.loads((folder / FILE).read_bytes())
        stored = content["format_version"], content["lungs"]
        if stored != (FORMAT_VERSION, list(lung_labels(spec))):
            return {}
        facts = _FACTS.validate_python(content["facts"], strict=False)
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return {}
    return {case.case: case for case in facts}


def _used_regions(spec: DatasetSpec, facts: Sequence[CaseFacts]) -> DatasetSpec:
    """Drop regions without voxels in any case, but never the first."""
    labels = {label for case in facts if case.labels for label in case.labels.voxels}
    first = next(iter(spec.regions))
    regions = {
        name: values
        for name, values in spec.regions.items()
        if name == first or labels.intersection(values)
    }
    return replace(spec, regions=regions)


def _cases(folder: Path) -> list[CaseFiles]:
    """List every case with a scan or a mask, sorted by name."""
    paths: dict[str, tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for number, part in enumerate(PARTS):
        for path in files_in(folder / part):
            name = case_name(path)
            if name is not None:
                paths[name][number].append(path)
    if not any(scans for scans, _ in paths.values()):
        raise InputError(f"there is no NIfTI scan in {folder / PARTS[0]}")
    return [
        CaseFiles(name, tuple(scans), tuple(masks))
        for name, (scans, masks) in sorted(paths.items())
    ]


def _facts(files: CaseFiles, *, spec: DatasetSpec, cached: Mapping[str, CaseFacts]) -> CaseFacts:
    for paths in (files.scans, files.masks):
        if len(paths) > 1:
            names = listed(path.name for path in paths)
            problem = f"{len(paths)} files in {paths[0].parent.name}/ have this name: {names}"
            return CaseFacts(files.name, problem=problem)
    scan, mask = (paths[0] if paths else None for paths in (files.scans, files.masks))
    facts = cached.get(files.name)
    if facts and _unchanged(facts.scan, scan) and _unchanged(facts.mask, mask):
        return facts
    return measure(files.name, scan, mask, spec)


def _unchanged(facts: FileFacts | None, path: Path | None) -> bool:
    if facts is None or path is None:
        return facts is None and path is None
    if not facts.sha256 or facts.file != path.name:
        return False
    try:
        return file_sha256(path) == facts.sha256
    except InputError:
        return False


def _ignored_files(folder: Path) -> list[Finding]:
    """Report images of other formats, which a dataset does not use."""
    ignored = [
        f"{part}/{path.name}"
        for part in PARTS
        for path in files_in(folder / part)
        if path.name.lower().endswith((*_OTHER_FORMATS, *NIFTI_SUFFIXES))
        and case_name(path) is None
        if not path.name.startswith(".")
    ]
    if not ignored:
        return []
    return [
        Finding(
            "file-passed-over",
            "warning",
            f"{counted(len(ignored), 'file')} in scans/ and masks/ must be .nii or .nii.gz to be "
            f"used: {listed(ignored, at_most=3)}",
            "convert them to NIfTI, or remove them",
        )
    ]
