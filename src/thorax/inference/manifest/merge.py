"""Merge the logs of parts into one manifest, and name scans without a result."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from thorax.common.errors import InputError
from thorax.common.files import write_text
from thorax.inference.inputs import ScanTask
from thorax.inference.manifest.files import ManifestFiles
from thorax.inference.manifest.row import (
    DONE,
    FAILED,
    MISSING,
    STARTED,
    ManifestRow,
    relative_mask,
    review_order,
)

_SCANS = ".manifest-scans-{}.json"

_Scans = list[tuple[str, str, str]]
"""Case, scan and mask, relative to the folder."""


@dataclass(frozen=True)
class MergedManifest:
    """The rows of all parts.

    Args:
        table: The CSV that was written.
        rows: One row per scan; those without a mask first, then those with quality warnings.
        running: Number of parts that are running, as far as the drive supports locks.
    """

    table: Path
    rows: Sequence[ManifestRow]
    running: int

    def with_status(self, *status: str) -> list[ManifestRow]:
        """Return the rows with one of these values of the status."""
        return [row for row in self.rows if row.status in status]

    @property
    def to_review(self) -> list[ManifestRow]:
        """Rows with a mask and quality warnings."""
        return [row for row in self.with_status(DONE) if row.quality_warnings]

    @property
    def is_complete(self) -> bool:
        """Each scan has a mask or has failed."""
        return not self.with_status(MISSING, STARTED)


def store_scans(folder: Path, tasks: Iterable[ScanTask]) -> None:
    """Store the names of all scans of a batch, so that missing ones can be named.

    All parts write the same file; its name contains its digest.

    Raises:
        InputError: The folder cannot be written.
    """
    scans = [(task.case, str(task.scan), relative_mask(str(task.mask), folder)) for task in tasks]
    text = json.dumps(scans) + "\n"
    path = folder / _SCANS.format(hashlib.sha256(text.encode()).hexdigest()[:12])
    if path.exists():
        path.touch()
    else:
        write_text(path, text)


def merge_manifest(folder: Path) -> MergedManifest:
    """Merge the logs of all parts with an earlier manifest, and write the tables.

    Once no scan is missing or unfinished, the logs of batches that are not running are removed.

    Raises:
        InputError: There is no manifest, it is damaged, or the folder cannot be written.
    """
    files = ManifestFiles(folder)
    lists = _scan_lists(folder)
    rows = _all_rows(files)
    files.write(rows.values())
    running = [log for log in files.part_logs() if log.is_locked()]
    merged = MergedManifest(files.table, review_order(rows.values()), len(running))
    if merged.is_complete and not running:
        files.remove_logs()
        for path in lists:
            path.unlink(missing_ok=True)
    return merged


def read_rows(folder: Path) -> dict[str, ManifestRow]:
    """Read the rows of all parts and of an earlier manifest, also of scans without a result.

    Raises:
        InputError: There is no manifest, or it is damaged.
    """
    return _all_rows(ManifestFiles(folder))


def describe_problems(merged: MergedManifest) -> list[str]:
    """Return one line for each scan that is missing, unfinished, failed or to be reviewed."""
    lines = [f"Missing: {row.case}: no part has started it" for row in merged.with_status(MISSING)]
    lines += [
        f"Unfinished: {row.case}: its part was stopped, or is running"
        for row in merged.with_status(STARTED)
    ]
    lines += [f"Failed: {row.case}: {row.error}" for row in merged.with_status(FAILED)]
    return lines + [
        f"Check: {row.case}: {warning}"
        for row in merged.to_review
        for warning in row.quality_warnings
    ]


def _all_rows(files: ManifestFiles) -> dict[str, ManifestRow]:
    folder, rows = files.folder, files.read()
    scans = _valid_scans(_scan_lists(folder))
    if not rows and not scans:
        raise InputError(
            f"there is no manifest in {folder}; name a folder that `thorax predict` has written"
        )
    for case, scan, mask in scans:
        rows.setdefault(case, ManifestRow(case, MISSING, scan, str(folder / mask), "", ""))
    return rows


def _scan_lists(folder: Path) -> list[Path]:
    """Return the lists of scans of all batches with parts, the one of the last part first."""
    lists = folder.glob(_SCANS.format("*"))
    return sorted(lists, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _valid_scans(lists: Sequence[Path]) -> _Scans:
    """Read the scans of all batches; a batch replaces an older one with any of its scans.

    So a scan that was removed after the first parts had started is not missing.
    """
    scans: dict[str, tuple[str, str, str]] = {}
    for path in lists:
        batch = {scan[0]: scan for scan in _read_scans(path)}
        if not batch.keys() & scans.keys():
            scans |= batch
    return list(scans.values())


def _read_scans(path: Path) -> _Scans:
    try:
        return TypeAdapter(_Scans).validate_json(path.read_bytes())
    except ValueError:
        raise InputError(f"{path} is damaged; remove it, and run one of the parts again") from None
