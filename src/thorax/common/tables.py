"""Tables as CSV, aligned text and JSON."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Table = tuple[tuple[str, ...], list[dict[str, str]]]
"""Columns, and rows as column → cell."""

_FORMULA = frozenset("=+-@\t\r")
"""First characters of formulas in spreadsheets."""


def as_csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Format rows as CSV with floats of six digits and empty cells for NaN.

    A text that a spreadsheet would read as a formula gets an apostrophe, which `plain_cell`
    removes.

    Args:
        rows: Column name → value; missing columns give empty cells.
        names: The columns, in order.

    Example:
        >>> print(as_csv([{"case": "a", "dice": 2 / 3}, {"case": "b", "dice": math.nan}],
        ...              ["case", "dice"]), end="")
        case,dice
        a,0.666667
        b,
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writerow({name: _cell(name) for name in names})
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def read_csv(text: str) -> Table:
    r"""Parse a CSV table; `as_csv` and this function preserve texts except carriage returns.

    Raises:
        ValueError: It is not CSV, or a row has more or fewer cells than the header.

    Example:
        >>> read_csv("case,dice\n'=a,0.5\n")
        (('case', 'dice'), [{'case': '=a', 'dice': '0.5'}])
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        columns, rows = tuple(reader.fieldnames or ()), list(reader)
    except csv.Error as error:
        raise ValueError(str(error)) from None
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise ValueError(
                f"each row must have {len(columns)} cells like the header, but row {number} has "
                "more or fewer"
            )
    return columns, [{name: plain_cell(cell) for name, cell in row.items()} for row in rows]


def require_complete(text: str) -> str:
    """Return the text of a file if its last line is complete.

    Raises:
        ValueError: The text does not end with a newline, so the last number may be incomplete.
    """
    if not text.endswith("\n"):
        raise ValueError("it is cut short")
    return text


def plain_cell(text: str) -> str:
    """Remove the apostrophe that `as_csv` puts before formulas.

    Example:
        >>> plain_cell("'=1+1"), plain_cell("'tis"), plain_cell("-5")
        ('=1+1', "'tis", '-5')
    """
    return text[1:] if text[:1] == "'" and text[1:2] in _FORMULA else text


def _cell(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in _FORMULA:
        return f"'{value}"
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"


_TITLES = {
    "dice": "Dice",
    "iou": "IoU",
    "nsd": "NSD",
    "hd95_mm": "HD95 mm",
    "mean_distance_mm": "mean mm",
    "truth_ml": "truth mL",
    "predicted_ml": "predicted mL",
    "ceiling_dice": "ceiling",
    "dice_mean": "Dice",
    "dice_median": "median",
    "dice_sd": "SD",
    "iou_mean": "IoU",
    "ceiling_mean": "ceiling",
    "dice_sd_of_seeds": "SD of seeds",
    "dice_low": "low",
    "dice_high": "high",
    "nsd_mean": "NSD",
    "nsd_sd": "SD",
    "nsd_low": "low",
    "nsd_high": "high",
    "infection_sd": "SD",
    "infection_nsd": "NSD",
}


def aligned(
    rows: Sequence[Mapping[str, Any]],
    keys: Iterable[str],
    *,
    digits: Mapping[str, int] | None = None,
) -> str:
    """Format rows as text in columns: texts to the left, numbers to the right.

    Args:
        rows: Column key → value.
        keys: The columns, in order.
        digits: Column key → number of decimals; 4 for all others.

    Example:
        >>> print(aligned([{"case": "ann", "dice": 0.5}, {"case": "b", "dice": math.nan}],
        ...               ["case", "dice"]))
        case    Dice
        ann   0.5000
        b          -
    """
    columns = []
    for key in keys:
        values = [row[key] for row in rows]
        decimals = (digits or {}).get(key, 4)
        cells = [_TITLES.get(key, key), *(_text_cell(value, decimals) for value in values)]
        width, is_text = max(map(len, cells)), all(isinstance(value, str) for value in values)
        columns.append([cell.ljust(width) if is_text else cell.rjust(width) for cell in cells])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def to_json(content: Any) -> str:
    """Format as JSON with floats of six digits, as in CSV, and null for NaN."""
    return json.dumps(_without_nan(content), indent=2)


def _text_cell(value: Any, decimals: int) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.{decimals}f}"
    return str(value)


def _without_nan(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _without_nan(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_without_nan(value) for value in content]
    if isinstance(content, float):
        return None if math.isnan(content) else float(f"{content:.6g}")
    return content
