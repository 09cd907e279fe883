"""Table of single lesions: one row per lesion of the truth and per predicted component."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from thorax.common.errors import InputError
from thorax.common.tables import as_csv
from thorax.evaluation.lesions import Lesion

LESION_COLUMNS = ("case", "region", "mask", "volume_ml", "overlap", "matched")


@dataclass(frozen=True)
class LesionRow:
    """A lesion with the case and the region that it belongs to.

    Args:
        case: Name of the case.
        region: Name of the region.
        lesion: Volume and overlap of the lesion.
    """

    case: str
    region: str
    lesion: Lesion


def lesions_csv(rows: Iterable[LesionRow]) -> str:
    """Format the rows as CSV.

    Example:
        >>> row = LesionRow("ann", "infection", Lesion("truth", 2.0, 0.25, True))
        >>> print(lesions_csv([row]), end="")
        case,region,mask,volume_ml,overlap,matched
        ann,infection,truth,2,0.25,1
    """
    cells = (
        {
            "case": row.case,
            "region": row.region,
            "mask": row.lesion.mask,
            "volume_ml": row.lesion.volume_ml,
            "overlap": row.lesion.overlap,
            "matched": int(row.lesion.matched),
        }
        for row in rows
    )
    return as_csv(cells, LESION_COLUMNS)


def read_lesion_rows(rows: Iterable[Mapping[str, str]], *, source: str) -> Iterator[LesionRow]:
    """Read the rows of a table of lesions.

    Args:
        rows: Column → cell, as `thorax.common.tables.read_csv` returns them.
        source: Name of the table, for errors.

    Raises:
        InputError: A column is missing, or a cell is not what `lesions_csv` writes.
    """
    for number, row in enumerate(rows, start=1):
        try:
            yield LesionRow(row["case"], row["region"], _lesion(row))
        except (KeyError, ValueError):
            raise InputError(
                f"{source}: row {number} must have {', '.join(LESION_COLUMNS)} of a lesion, got "
                f"{', '.join(row.values())}; create the file again"
            ) from None


def _lesion(row: Mapping[str, str]) -> Lesion:
    mask, matched = row["mask"], row["matched"]
    volume_ml, overlap = float(row["volume_ml"]), float(row["overlap"])
    if not (0 < volume_ml < math.inf and 0 <= overlap <= 1 and matched in ("0", "1")):
        raise ValueError
    if mask == "truth":
        return Lesion("truth", volume_ml, overlap, matched == "1")
    if mask == "predicted":
        return Lesion("predicted", volume_ml, overlap, matched == "1")
    raise ValueError
