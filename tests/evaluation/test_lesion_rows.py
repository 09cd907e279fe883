"""The table of single lesions: written and read, damaged rows by name."""

import pytest

from thorax.common.errors import InputError
from thorax.common.tables import read_csv
from thorax.evaluation.lesion_rows import LesionRow, lesions_csv, read_lesion_rows
from thorax.evaluation.lesions import Lesion


def test_rows_are_read_as_they_were_written() -> None:
    rows = [
        LesionRow("ann", "infection", Lesion("truth", 12.5, 0.75, True)),
        LesionRow("ann", "infection", Lesion("predicted", 0.001, 0.0, False)),
        LesionRow("=ben", "scar", Lesion("predicted", 3.0, 1.0, True)),
    ]
    _, cells = read_csv(lesions_csv(rows))
    assert list(read_lesion_rows(cells, source="lesions.csv")) == rows


def test_no_lesion_is_a_header() -> None:
    assert lesions_csv([]) == "case,region,mask,volume_ml,overlap,matched\n"


@pytest.mark.parametrize(
    "change",
    [
        {"mask": "right"},
        {"volume_ml": "large"},
        {"volume_ml": "nan"},
        {"volume_ml": "0"},
        {"overlap": "1.5"},
        {"overlap": ""},
        {"matched": "yes"},
    ],
    ids=str,
)
def test_a_damaged_row_is_named(change: dict[str, str]) -> None:
    row = {
        "case": "a", "region": "r", "mask": "truth", "volume_ml": "1", "overlap": "0",
        "matched": "0",
    }  # fmt: skip
    assert len(list(read_lesion_rows([row], source="lesions.csv"))) == 1
    with pytest.raises(InputError, match=r"^lesions\.csv: row 2 must have case, region, .* got a"):
        list(read_lesion_rows([row, row | change], source="lesions.csv"))


def test_a_missing_column_is_an_error() -> None:
    with pytest.raises(InputError, match=r"row 1 must have .*matched of a lesion, got a, lung;"):
        list(read_lesion_rows([{"case": "a", "region": "lung"}], source="lesions.csv"))
