"""What earlier runs of a batch have written: finished scans are skipped, own files replaced."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from thorax.inference.manifest.row import DONE, STARTED, ManifestRow


def is_finished(earlier: ManifestRow, row: ManifestRow, files: Iterable[Path]) -> bool:
    """Return True if an earlier run wrote all files with the same model and settings."""
    return (
        earlier.status == DONE
        and (earlier.model, earlier.settings) == (row.model, row.settings)
        and (earlier.scan, earlier.mask) == (row.scan, row.mask)
        and all(path.exists() for path in files)
    )


def written_before(earlier: ManifestRow | None, files: Sequence[Path]) -> list[Path]:
    """Return the files that earlier runs of the batch have written for a scan.

    A scan that was interrupted may have left any of its files.

    Args:
        earlier: The row of the scan before this run; None: it had none.
        files: The files that this run writes, the mask first.
    """
    if earlier is None or Path(earlier.mask).parent != files[0].parent:
        return []
    if earlier.files is None:  # a row of a version that did not store them
        return list(files) if earlier.status in (DONE, STARTED) else []
    return [files[0].with_name(name) for name in earlier.files]


def with_files(row: ManifestRow, files: Sequence[Path], earlier: ManifestRow | None) -> ManifestRow:
    """Add the names of the files that this and earlier runs have written, or are writing.

    A failed scan, for instance one that must not replace a file, keeps those of earlier runs.

    Args:
        row: The row of a scan.
        files: The files that this run writes, the mask first.
        earlier: The row of the scan before this run; None: it had none.
    """
    before = written_before(earlier, files)
    paths = {DONE: files, STARTED: [*before, *files]}.get(row.status, before)
    return replace(row, files=tuple(dict.fromkeys(path.name for path in paths)))
