"""Tables as CSV, written and read."""

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Table = tuple[tuple[str, ...], list[dict[str, str]]]
"""Columns, then rows: column → cell."""

_FORMULA = frozenset("=+-@\t\r")
"""What a formula begins with, in the spreadsheets in use."""


def as_csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Rows as CSV, floats to six digits, undefined figures as empty cells.

    A text that a spreadsheet would take for a formula stands behind an apostrophe, which makes it
    a text there; `plain_cell` takes that off again.

    Args:
        rows: Column name → value; a column that a row lacks is left empty.
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
    r"""Columns and rows of a table; cells are those that `as_csv` was given, as text.

    But for carriage returns, which no reader of text files keeps.

    Raises:
        ValueError: It is no CSV, or a row has more or fewer cells than the header.

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
                f"rows must have as many cells as the header, {len(columns)}, but row {number} "
                "has not"
            )
    return columns, [{name: plain_cell(cell) for name, cell in row.items()} for row in rows]


def whole(text: str) -> str:
    """The text of a file, unless its end is missing: it might end in the middle of a figure.

    Raises:
        ValueError: Its last line does not end.
    """
    if not text.endswith("\n"):
        raise ValueError("it is cut short")
    return text


def plain_cell(text: str) -> str:
    """A cell as it was before `as_csv` kept spreadsheets from taking it for a formula.

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
    "ceiling_dice": "ceiling",
    "dice_mean": "Dice",
    "dice_median": "median",
    "dice_sd": "SD",
    "iou_mean": "IoU",
    "ceiling_mean": "ceiling",
    "dice_sd_of_seeds": "SD of seeds",
}


def aligned(rows: Sequence[Mapping[str, Any]], keys: Iterable[str]) -> str:
    """Rows as lines for people: words to the left, figures to the right, four digits.

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
        cells = [_TITLES.get(key, key), *map(_text_cell, values)]
        width, words = max(map(len, cells)), all(isinstance(value, str) for value in values)
        columns.append([cell.ljust(width) if words else cell.rjust(width) for cell in cells])
    return "\n".join("  ".join(line).rstrip() for line in zip(*columns, strict=True))


def to_json(content: Any) -> str:
    """JSON in which undefined figures are null; figures have six digits, as in CSV."""
    return json.dumps(_defined(content), indent=2)


def _text_cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    return str(value)


def _defined(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _defined(value) for key, value in content.items()}
    if isinstance(content, list):
        return [_defined(value) for value in content]
    if isinstance(content, float):
        return None if math.isnan(content) else float(f"{content:.6g}")
    return content
