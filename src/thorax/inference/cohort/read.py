"""Read the folder that ``thorax predict scans/ masks/ --statistics`` wrote."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from thorax.common.errors import InputError
from thorax.common.text import counted, listed
from thorax.evaluation.cohort.scans import WHOLE, Cohort, CohortScan, PartMeasurements
from thorax.inference.cohort.statistics_file import read_statistics
from thorax.inference.manifest.merge import read_rows
from thorax.inference.manifest.row import DONE, FAILED, ManifestRow
from thorax.inference.outputs import name_outputs

MOST_NAMED = 5
"""Cases that a note names; the others are counted."""

AGAIN = "run the same `thorax predict` again"


def read_cohort(folder: Path) -> Cohort:
    """Read manifest and statistics of a folder of masks.

    A finished scan without usable statistics has the volumes of the manifest only, and a note
    tells how to get the rest. Every scan of the manifest is kept, failed ones without
    measurements.

    Args:
        folder: Folder of the masks with ``manifest.json``.

    Returns:
        The scans by name.

    Raises:
        InputError: There is no such folder, or it has no manifest that can be read.
    """
    if not folder.is_dir():
        raise InputError(f"MASKS must be a folder that `thorax predict` wrote, got {folder}")
    rows = sorted(read_rows(folder).values(), key=lambda row: row.case)
    sources = [_read_scan(row, folder) for row in rows]
    scans = tuple(source.scan for source in sources)
    return Cohort(scans, notes=tuple(_notes(sources)))


@dataclass(frozen=True)
class _Source:
    """A scan and what its statistics file lacks.

    Args:
        scan: The scan.
        missing: True for a finished scan without a statistics file.
        problem: Name and problem of a statistics file that cannot be used.
    """

    scan: CohortScan
    missing: bool = False
    problem: str = ""


def resolve(path: str, folder: Path) -> Path:
    """Return a path of a manifest: from its folder, else from the working directory.

    Example:
        >>> resolve("masks/a.nii.gz", Path("no such folder"))
        PosixPath('masks/a.nii.gz')
    """
    stored = Path(path)
    for place in (folder / stored, stored):
        if place.exists():
            return place
    # The reader of the manifest prefixes relative paths of masks with the folder.
    inner = stored.relative_to(folder) if stored.is_relative_to(folder) else stored
    return inner if inner.exists() else stored


def _read_scan(row: ManifestRow, folder: Path) -> _Source:
    scan = CohortScan(
        row.case,
        row.status,
        resolve(row.scan, folder),
        resolve(row.mask, folder),
        row.model,
        row.intensity,
        quality_warnings=row.quality_warnings,
        error=row.error,
    )
    if row.status != DONE:
        return _Source(scan)
    named = name_outputs(scan.mask, (), statistics=True).statistics
    # The statistics may be there although the mask was removed.
    path = resolve(str(named), folder)
    try:
        first, parts = read_statistics(path, row.volumes_ml)
    except FileNotFoundError:
        return _Source(replace(scan, parts=_from_manifest(row)), missing=True)
    except (ValueError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        problem = f"{path.name} {reason}" if isinstance(error, ValueError) else f"{path}: {reason}"
        without = replace(scan, parts=_from_manifest(row), error=f"statistics: {problem}")
        return _Source(without, problem=problem)
    return _Source(replace(scan, first_region=first, parts=tuple(_with_quality(parts, row))))


def _from_manifest(row: ManifestRow) -> tuple[PartMeasurements, ...]:
    parts = [PartMeasurements(region, volume_ml=ml) for region, ml in row.volumes_ml.items()]
    return tuple(_with_quality(parts, row))


def _with_quality(
    parts: Iterable[PartMeasurements], row: ManifestRow
) -> Iterator[PartMeasurements]:
    """Add certainty and expected Dice to the whole regions, for which they are valid."""
    for part in parts:
        if part.side != WHOLE:
            yield part
            continue
        dice = row.expected_dice.get(part.region)
        yield replace(
            part,
            certainty=row.certainty.get(part.region),
            expected_dice=dice.dice if dice else None,
            expected_dice_low=dice.low if dice else None,
            expected_dice_high=dice.high if dice else None,
        )


def _notes(sources: Iterable[_Source]) -> Iterator[str]:
    missing = [source.scan.case for source in sources if source.missing]
    problems = [source.problem for source in sources if source.problem]
    pending = [source.scan.case for source in sources if source.scan.status not in (DONE, FAILED)]
    models = {source.scan.model for source in sources if source.scan.status == DONE}
    if missing:
        yield (
            f"{_has(len(missing), 'scan')} no statistics file, so only the volume is known: "
            f"{listed(missing, at_most=MOST_NAMED)}; {AGAIN} with --statistics"
        )
    if problems:
        yield (
            f"{counted(len(problems), 'statistics file')} cannot be used: "
            f"{listed(problems, at_most=MOST_NAMED)}; remove such files, and {AGAIN} with "
            "--statistics"
        )
    if pending:
        names = listed(pending, at_most=MOST_NAMED)
        yield f"{counted(len(pending), 'scan')} not finished: {names}; {AGAIN}"
    if len(models) > 1:
        yield (
            f"the masks are of {len(models)} models, so their values may not be comparable; "
            "`thorax predict --force` with one model makes them equal"
        )


def _has(count: int, noun: str) -> str:
    return f"{counted(count, noun)} {'has' if count == 1 else 'have'}"
