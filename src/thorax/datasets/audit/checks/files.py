"""Checks of files and their names."""

from collections.abc import Iterator

from thorax.common.errors import InputError
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.dataset import DatasetSpec


def case_files(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A scan without a mask, a mask without a scan, two files of one name."""
    if facts.problem:
        yield Finding(
            "case-files", "error", facts.problem, "keep one scan and one mask", facts.case
        )
    for part, other, file in (("mask", "scan", facts.mask), ("scan", "mask", facts.scan)):
        if file is None and not facts.problem:
            yield Finding(
                "case-files",
                "error",
                f"there is a {other}, but no {part} of this name",
                f"add its {part}, or remove the {other}",
                facts.case,
            )


def case_name(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """A name that the patterns in `dataset.yaml` do not match."""
    for check in (spec.patient_of, spec.site_of, spec.intensity_of):
        try:
            check(facts.case)
        except InputError as error:
            yield Finding(
                "case-name",
                "error",
                str(error),
                "correct the pattern in dataset.yaml, or rename the files to match it",
                facts.case,
            )


def unreadable(facts: CaseFacts, spec: DatasetSpec) -> Iterator[Finding]:
    """Files that cannot be read to their last voxel."""
    for part, file in (("scan", facts.scan), ("mask", facts.mask)):
        if file and file.problem:
            reason, _, advice = file.problem.partition("; ")
            yield Finding(
                "file-unreadable",
                "error",
                f"{part}: {reason}",
                advice or "copy it again from its source, or remove the case",
                facts.case,
            )
