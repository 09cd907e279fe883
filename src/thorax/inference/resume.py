"""Files of earlier runs of a batch: finished scans are skipped, files of the batch replaced."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from thorax.inference.manifest.row import DONE, STARTED, ManifestRow


def is_finished(earlier: ManifestRow, row: ManifestRow, files: Iterable[Path]) -> bool:
    """Return True if an earlier run wrote all files with the same model and settings.

    Other files next to the mask may exist, but describe an older mask.
    """
    names = (earlier.mask,) if earlier.files is None else earlier.files
    return (
        earlier.status == DONE
        and (earlier.model, earlier.settings) == (row.model, row.settings)
        and (earlier.scan, earlier.mask) == (row.scan, row.mask)
        and row.bits in (0, earlier.bits)
        and {path.name for path in files} <= {Path(name).name for name in names}
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


def remove_outdated(
    row: ManifestRow, files: Sequence[Path], earlier: ManifestRow | None
) -> ManifestRow:
    """Remove files of earlier runs that describe a mask which was replaced.

    Args:
        row: The row of a scan.
        files: The files that this run writes, the mask first.
        earlier: The row of the scan before this run; None: it had none.

    Returns:
        The row, with a note on files that could not be removed.
    """
    if row.status != DONE or earlier is None or earlier.mask != row.mask:
        return row
    kept = []
    for path in written_before(earlier, files):
        if path not in files:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                kept.append(f"{path} describes an older mask; remove it ({error.strerror})")
    return replace(row, warnings=(*row.warnings, *kept))
