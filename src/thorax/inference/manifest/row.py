"""One row of a manifest, and how it is stored as JSON."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from thorax.models.spec import ExpectedDice

DONE, STARTED, FAILED, MISSING = "done", "started", "failed", "missing"


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class ManifestRow:
    """The result of one scan.

    Args:
        case: Name of the scan within the batch.
        status: ``done``, ``started``, ``failed`` or, for a scan that no part has started,
            ``missing``.
        scan: The file or folder of the scan.
        mask: The file of the mask.
        model: Digest of the model or models.
        settings: Everything else that the mask depends on.
        seconds: Time from the end of the previous scan to the end of this one.
        intensity: Detected meaning of the voxel values.
        volumes_ml: Region name → volume.
        certainty: Region name → certainty; see `thorax.inference.quality.certainty`.
        expected_dice: Region name → expected Dice, for regions where the model can estimate it; see
            `thorax.inference.expected_dice`.
        quality_warnings: Reasons to review the mask.
        warnings: Notes on the scan and the postprocessing.
        error: Reason of a failure.
        bits: Bits per probability; 0: probabilities were not written.
        files: Names of the files in the folder of the mask that the batch has written, or is
            writing; None in rows of versions that did not store them.
    """

    case: str
    status: str
    scan: str
    mask: str
    model: str
    settings: str
    seconds: float = 0.0
    intensity: str = ""
    volumes_ml: dict[str, float] = field(default_factory=dict)
    certainty: dict[str, float | None] = field(default_factory=dict)
    expected_dice: dict[str, ExpectedDice] = field(default_factory=dict)
    quality_warnings: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str = ""
    bits: int = 0
    files: tuple[str, ...] | None = None


_ROWS = TypeAdapter(list[ManifestRow])


def without_nan(row: ManifestRow) -> ManifestRow:
    """Omit NaN and infinite values: JSON has neither."""
    return replace(
        row,
        volumes_ml={name: ml for name, ml in row.volumes_ml.items() if math.isfinite(ml)},
        certainty={
            name: value if value is not None and math.isfinite(value) else None
            for name, value in row.certainty.items()
        },
    )


def row_content(row: ManifestRow, folder: Path) -> dict[str, Any]:
    """Return a row as stored in a folder; the mask is relative to the folder if it is inside."""
    return asdict(row) | {"mask": relative_mask(row.mask, folder)}


def parse_rows(
    content: Any, folder: Path, *, seconds: Mapping[str, float] | None = None
) -> list[ManifestRow]:
    """Check rows that were stored in a folder.

    Rows of missing scans are left out: they have no result.

    Args:
        content: Parsed JSON; the rows are changed in place.
        folder: The folder.
        seconds: Case → duration, for rows without one.

    Raises:
        ValueError: The content is no list of rows (`pydantic.ValidationError`).
    """
    for row in content if isinstance(content, list) else ():
        if isinstance(row, dict):
            _complete(row, folder, seconds or {})
    rows = _ROWS.validate_python(content)
    return [row for row in rows if row.status != MISSING]


def review_order(rows: Iterable[ManifestRow]) -> list[ManifestRow]:
    """Sort rows: those without a mask first, then by number of quality warnings, then by name."""
    return sorted(rows, key=lambda row: (row.status == DONE, -len(row.quality_warnings), row.case))


def relative_mask(mask: str, folder: Path) -> str:
    """Return the path of a mask relative to a folder; an absolute path if it is not inside.

    Example:
        >>> relative_mask("masks/a/1.nii", Path("masks"))
        'a/1.nii'
    """
    path = Path(mask)
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return str(path.absolute())


def _mask_in(folder: Path, mask: str) -> str:
    path = Path(mask)
    # Version 0.1 stored paths relative to the working folder.
    if path.is_relative_to(folder) and not (folder / path).exists():
        return mask
    return str(folder / path)


def _complete(row: dict[str, Any], folder: Path, seconds: Mapping[str, float]) -> None:
    """Add what is stored in another way, and rename the key of version 0.1."""
    if "doubts" in row:
        row["quality_warnings"] = row.pop("doubts")
    if isinstance(row.get("mask"), str):
        row["mask"] = _mask_in(folder, row["mask"])
    if isinstance(row.get("case"), str) and row["case"] in seconds:
        row.setdefault("seconds", seconds[row["case"]])
