"""The table of a cohort: one row per scan, region and side."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thorax.common.errors import InputError, require_packages
from thorax.common.files import whole_file, write_text
from thorax.common.tables import as_csv
from thorax.evaluation.cohort.scans import Cohort, CohortScan, PartMeasurements
from thorax.inference.manifest.table import for_spreadsheets

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".csv", ".parquet")

_NAMES = ("case", "region", "side", "status")

_DENSITIES = (
    "volume_ml", "mean_hu", "sd_hu", "p5_hu", "p50_hu", "p95_hu", "low_attenuation_percent",
    "high_attenuation_percent",
)  # fmt: skip

_QUALITY = ("certainty", "expected_dice", "expected_dice_low", "expected_dice_high")

_REMARKS = ("touches_border", "quality_warnings", "error")

Cells = dict[str, Any]


def table_columns(cohort: Cohort) -> tuple[str, ...]:
    """Return the columns of the measurements, without those of patients.

    Example:
        >>> table_columns(Cohort(()))[:5]
        ('case', 'region', 'side', 'status', 'volume_ml')
    """
    firsts = (scan.first_region for scan in cohort.scans if len(_regions(scan)) > 1)
    shares = map(_share, dict.fromkeys(firsts))
    return (*_NAMES, *_DENSITIES, *shares, *_QUALITY, *_REMARKS)


def table_rows(cohort: Cohort) -> Iterator[Cells]:
    """Yield the rows by scan, region and side; a scan without measurements has one row.

    Texts of a list are joined by semicolons. Values that are undefined or unknown are None.
    """
    for scan in cohort.scans:
        for part in scan.parts or (PartMeasurements("", ""),):
            yield _cells(scan, part)


def check_output(path: Path) -> None:
    """Check that a table can be written to a file of this name.

    Raises:
        InputError: The suffix is none of `SUFFIXES`, or pyarrow is not installed for Parquet.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"--output must end in {' or '.join(SUFFIXES)}, got {path}")
    if path.suffix.lower() == ".parquet":
        require_packages("a .parquet table", "pyarrow", extra="parquet")


def write_table(path: Path, cohort: Cohort) -> int:
    """Write the table atomically, as CSV or Parquet by the suffix.

    Returns:
        The number of rows.

    Raises:
        InputError: See `check_output`; or the file cannot be written.
    """
    check_output(path)
    if path.suffix.lower() == ".csv":
        write_text(path, for_spreadsheets(table_csv(cohort)))
    else:
        from pyarrow import parquet

        with whole_file(path) as temporary:
            parquet.write_table(_arrow_table(cohort), temporary)
    return sum(len(scan.parts) or 1 for scan in cohort.scans)


def table_csv(cohort: Cohort) -> str:
    """Format the table as CSV."""
    return as_csv(table_rows(cohort), _all_columns(cohort))


def _all_columns(cohort: Cohort) -> tuple[str, ...]:
    return (*table_columns(cohort), *cohort.patient_columns)


def _cells(scan: CohortScan, part: PartMeasurements) -> Cells:
    share = {_share(scan.first_region): part.share_of_first_percent}
    return {
        "case": scan.case,
        "region": part.region,
        "side": part.side,
        "status": scan.status,
        **{name: getattr(part, name) for name in (*_DENSITIES, *_QUALITY)},
        **(share if part.share_of_first_percent is not None else {}),
        "touches_border": _joined(part.touches_border),
        "quality_warnings": _joined(scan.quality_warnings),
        "error": _joined((scan.error,)),
        **(scan.patient or {}),
    }


def _joined(texts: Sequence[str]) -> str:
    return " ".join("; ".join(texts).split())


def _share(first: str) -> str:
    return f"share_of_{first}_percent"


def _regions(scan: CohortScan) -> set[str]:
    return {part.region for part in scan.parts}


def _arrow_table(cohort: Cohort) -> "pyarrow.Table":
    """Convert rows to typed columns: texts, 64-bit floats, and integers of patients."""
    import pyarrow

    rows, texts = list(table_rows(cohort)), (*_NAMES, *_REMARKS)
    arrays = {}
    for name in _all_columns(cohort):
        values: list[Any] = [row.get(name) for row in rows]
        if name in cohort.patient_columns:
            arrays[name] = _patient_array(values)
        elif name in texts:
            arrays[name] = pyarrow.array(list(map(_encodable, values)), pyarrow.string())
        else:
            arrays[name] = pyarrow.array(values, pyarrow.float64())
    return pyarrow.table(arrays)


def _patient_array(values: Sequence[Any]) -> "pyarrow.Array":
    """Convert the values of a patient column: numbers only if all of them are numbers."""
    import pyarrow

    values = [None if value == "" else value for value in values]
    given = [value for value in values if value is not None]
    if not given or not all(isinstance(value, Decimal) for value in given):
        texts = [None if value is None else _encodable(str(value)) for value in values]
        return pyarrow.array(texts, pyarrow.string())
    whole = all(value == value.to_integral_value() and abs(value) < 2**63 for value in given)
    convert, kind = (int, pyarrow.int64()) if whole else (float, pyarrow.float64())
    return pyarrow.array([None if v is None else convert(v) for v in values], kind)


def _encodable(text: str) -> str:
    """Escape file names that are not UTF-8."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
