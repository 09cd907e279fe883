"""Tables as CSV."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def as_csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Rows as CSV, floats to six digits, undefined figures as empty cells.

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
    writer.writeheader()
    writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else f"{value:.6g}"
