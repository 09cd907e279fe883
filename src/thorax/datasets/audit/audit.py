"""Audit a dataset: measure its cases in parallel, check each, and compare them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from thorax.common.errors import InputError
from thorax.common.files import file_sha256, write_text
from thorax.common.parallel import in_threads
from thorax.datasets.audit.checks.case import check_case
from thorax.datasets.audit.checks.dataset import check_together
from thorax.datasets.audit.facts import FORM, CaseFacts, FileFacts
from thorax.datasets.audit.findings import Finding, Weight, order
from thorax.datasets.audit.lung_labels import lung_labels
from thorax.datasets.audit.measure import measure
from thorax.datasets.dataset import PARTS, SPEC, DatasetSpec, files_in, load_spec
from thorax.io import SUFFIXES, case_name

NAME = "audit.json"

_FACTS = TypeAdapter(tuple[CaseFacts, ...])

_FINDINGS = TypeAdapter(tuple[Finding, ...])


@dataclass(frozen=True)
class Audit:
    """What was found in a dataset.

    Args:
        dataset: Its name.
        facts: What is known of each case, sorted by name.
        findings: What is wrong, the gravest first.
    """

    dataset: str
    facts: tuple[CaseFacts, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Faults for which the dataset cannot be used as it is."""
        return self.of("error")

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What is suspicious."""
        return self.of("warning")

    @property
    def notes(self) -> tuple[Finding, ...]:
        """What is good to know."""
        return self.of("note")

    def of(self, weight: Weight) -> tuple[Finding, ...]:
        """All findings of one weight."""
        return tuple(finding for finding in self.findings if finding.severity == weight)


def audit_dataset(
    folder: Path,
    *,
    context: int | None = None,
    known: Mapping[str, CaseFacts] | None = None,
    workers: int | None = None,
) -> Audit:
    """Audit a dataset; nothing in it is changed.

    Args:
        folder: Holds `dataset.yaml`, `scans/` and `masks/`.
        context: Planes that the network sees on each side of one; None: do not ask for them.
        known: Facts of cases by name, as `known_facts` reads them. Those whose files have the same
            digests are not measured again.
        workers: Cases measured at a time; as many as there are cores unless given.

    Returns:
        The same for the same files, whatever the order in which cases were measured.

    Raises:
        InputError: There is no usable `dataset.yaml`, or no scan.
    """
    spec = load_spec(folder / SPEC)
    spec.as_regions()
    cases = _cases(folder)
    work = partial(_facts, spec=spec, known=known or {})
    facts = in_threads(work, sorted(cases.items()), title="audit", size=workers)
    shown = _shown(spec, facts)
    found = [finding for each in facts for finding in check_case(each, shown, context=context)]
    found += check_together(facts, spec)
    found += _passed_over(folder)
    return Audit(folder.absolute().name, tuple(facts), tuple(sorted(found, key=order)))


def to_json(audit: Audit, spec: DatasetSpec) -> str:
    """Write an audit for machines: the same bytes for the same files; no path, time or patient."""
    content = {
        "form": FORM,
        "dataset": audit.dataset,
        "lungs": lung_labels(spec),
        "facts": _FACTS.dump_python(audit.facts, mode="json", exclude_defaults=True),
        "findings": _FINDINGS.dump_python(audit.findings, mode="json"),
    }
    return json.dumps(content, indent=1) + "\n"


def save_audit(folder: Path, audit: Audit, spec: DatasetSpec) -> None:
    """Write ``audit.json``."""
    write_text(folder / NAME, to_json(audit, spec))


def known_facts(folder: Path, spec: DatasetSpec) -> dict[str, CaseFacts]:
    """Facts that an earlier ``audit.json`` holds; none if it is missing, damaged or outdated."""
    try:
        content = json.loads((folder / NAME).read_bytes())
        if (content["form"], content["lungs"]) != (FORM, list(lung_labels(spec))):
            return {}
        return {each.case: each for each in _FACTS.validate_python(content["facts"], strict=False)}
    except (OSError, ValueError, KeyError, TypeError, ValidationError):
        return {}


def _shown(spec: DatasetSpec, facts: Sequence[CaseFacts]) -> DatasetSpec:
    """The spec without regions that no case shows: those are told of once, not for each case."""
    labels = {label for each in facts if each.labels for label in each.labels.voxels}
    first = next(iter(spec.regions))
    regions = {
        name: values
        for name, values in spec.regions.items()
        if name == first or labels.intersection(values)
    }
    return replace(spec, regions=regions)


@dataclass(frozen=True)
class _Files:
    """The files of one case."""

    scans: tuple[Path, ...] = ()
    masks: tuple[Path, ...] = ()


def _cases(folder: Path) -> dict[str, _Files]:
    """Every case that has a scan or a mask."""
    found: dict[str, _Files] = {}
    for part in PARTS:
        for path in files_in(folder / part):
            name = case_name(path)
            if name is not None:
                files = found.get(name, _Files())
                found[name] = replace(files, **{part: (*getattr(files, part), path)})
    if not any(files.scans for files in found.values()):
        raise InputError(f"there is no NIfTI scan in {folder / PARTS[0]}")
    return found


def _facts(
    item: tuple[str, _Files], *, spec: DatasetSpec, known: Mapping[str, CaseFacts]
) -> CaseFacts:
    name, files = item
    several = [paths for paths in (files.scans, files.masks) if len(paths) > 1]
    if several:
        listed = ", ".join(path.name for path in several[0])
        return CaseFacts(
            name, problem=f"two files of {several[0][0].parent.name}/ are named so: {listed}"
        )
    scan, mask = (paths[0] if paths else None for paths in (files.scans, files.masks))
    old = known.get(name)
    if old and _same(old.scan, scan) and _same(old.mask, mask):
        return old
    return measure(name, scan, mask, spec)


def _same(file: FileFacts | None, path: Path | None) -> bool:
    """Whether a file is the one that facts tell of."""
    if file is None or path is None:
        return file is None and path is None
    if not file.sha256 or file.file != path.name:
        return False
    try:
        return file_sha256(path) == file.sha256
    except InputError:
        return False


def _passed_over(folder: Path) -> list[Finding]:
    """Images of other formats, which a dataset does not use."""
    other = (".nrrd", ".nhdr", ".mha", ".mhd", ".dcm", ".img", ".hdr", ".npz", ".npy")
    passed = [
        f"{part}/{path.name}"
        for part in PARTS
        for path in files_in(folder / part)
        if path.name.lower().endswith((*other, *SUFFIXES)) and case_name(path) is None
        if not path.name.startswith(".")
    ]
    if not passed:
        return []
    more = ", …" if len(passed) > 3 else ""
    return [
        Finding(
            "file-passed-over",
            "warning",
            f"{len(passed)} files are not used, because they are not .nii or .nii.gz: "
            f"{', '.join(passed[:3])}{more}",
            "convert them to NIfTI, or take them out",
        )
    ]
