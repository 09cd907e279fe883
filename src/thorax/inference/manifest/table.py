"""The manifest as CSV, and the table of durations."""

from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from thorax.common.tables import as_csv
from thorax.inference.manifest.row import ManifestRow, relative_mask

TIMING_COLUMNS = ("case", "seconds")

FIRST_COLUMNS = ("case", "status")

_LAST = ("quality_warnings", "warnings", "error", "intensity", "model")


def manifest_csv(rows: Sequence[ManifestRow], folder: Path = Path()) -> str:
    """Return the rows as CSV; lists are joined by semicolons, and line breaks become spaces.

    Durations have a table of their own, so that the same scans give the same manifest.

    Args:
        rows: The rows, in order.
        folder: Folder to which the paths of masks are relative.
    """
    kinds = ["ml", "certainty"]
    if any(row.expected_dice for row in rows):
        kinds.append("expected_dice")
    names = ((*row.volumes_ml, *row.certainty, *row.expected_dice) for row in rows)
    regions = dict.fromkeys(chain.from_iterable(names))
    values = [f"{region}_{kind}" for region in regions for kind in kinds]
    cells = (_cells(row, folder) for row in rows)
    return as_csv(cells, (*FIRST_COLUMNS, *values, *_LAST, "scan", "mask"))


def timings_csv(rows: Iterable[ManifestRow]) -> str:
    """Return the duration of each scan as CSV, by name."""
    cells = ({"case": row.case, "seconds": row.seconds} for row in rows)
    return as_csv(sorted(cells, key=lambda cell: str(cell["case"])), TIMING_COLUMNS)


def for_spreadsheets(table: str) -> str:
    """Mark a table with non-ASCII characters as UTF-8, and escape invalid file names."""
    # Without the mark, Excel assumes the code page of the country.
    mark = "" if table.isascii() else "\N{BYTE ORDER MARK}"
    return mark + table.encode("utf-8", "backslashreplace").decode("utf-8")


def _cells(row: ManifestRow, folder: Path) -> dict[str, Any]:
    return {
        **{name: getattr(row, name) for name in (*FIRST_COLUMNS, *_LAST, "scan")},
        **{f"{region}_ml": ml for region, ml in row.volumes_ml.items()},
        **{f"{region}_certainty": certainty for region, certainty in row.certainty.items()},
        **{f"{region}_expected_dice": value.dice for region, value in row.expected_dice.items()},
        "quality_warnings": _one_line("; ".join(row.quality_warnings)),
        "warnings": _one_line("; ".join(row.warnings)),
        "error": _one_line(row.error),
        "mask": relative_mask(row.mask, folder),
    }


def _one_line(text: str) -> str:
    return " ".join(text.split())
