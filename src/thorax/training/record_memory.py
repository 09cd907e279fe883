"""Records of the training cases, kept in memory where they fit."""

from collections.abc import Sequence
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.machine import free_memory_bytes
from thorax.preprocessing.records import CaseRecord, read_record

MEMORY_SHARE = 0.25
"""Share of the free memory that records may take; several trainings may run at a time."""


class RecordMemory:
    """Reads records, and keeps those that fit into a limit for the next epochs.

    Args:
        paths: One record file per case.
        counts: Number of stacks of each case in an epoch, which is at most its number of slices.
        limit_bytes: Largest memory of all records that are kept; 0: none is kept.
    """

    def __init__(self, paths: Sequence[Path], counts: Sequence[int], *, limit_bytes: int) -> None:
        self._paths, self._counts = paths, counts
        self._free_bytes = limit_bytes
        self._kept: dict[int, CaseRecord] = {}

    def __call__(self, case: int) -> CaseRecord:
        """Return the record of a case.

        Raises:
            InputError: It cannot be read, or has fewer slices than stacks in an epoch.
        """
        if case in self._kept:
            return self._kept[case]
        record = read_case(self._paths[case], self._counts[case])
        size = record.planes.nbytes + record.fractions.nbytes
        if size <= self._free_bytes:
            self._free_bytes -= size
            self._kept[case] = record
        return record


def memory_for_records() -> int:
    """Return the bytes that records may take: a share of the memory that is free now."""
    return int(MEMORY_SHARE * free_memory_bytes())


def read_case(path: Path, count: int) -> CaseRecord:
    """Read a record with at least ``count`` slices.

    Raises:
        InputError: It cannot be read, or has fewer slices.
    """
    record = read_record(path)
    if count > len(record.planes):
        raise InputError(
            f"record {path} must have {count} slices as in the index, but has "
            f"{len(record.planes)}; make it again with `dvc repro -sf prepare`"
        )
    return record
