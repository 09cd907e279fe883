"""The table: its columns, its rows, CSV and Parquet."""

import csv
import io
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.evaluation.cohort.scans import Cohort, CohortScan, PartMeasurements
from thorax.inference.cohort.patients import join_patients
from thorax.inference.cohort.read import read_cohort
from thorax.inference.cohort.table import check_output, table_columns, table_csv, write_table

from .folders import done, failed, write


@pytest.fixture
def cohort(tmp_path: Path) -> Cohort:
    warned = done("anna", quality_warnings=("lung: one", "infection: two"))
    return read_cohort(write(tmp_path / "masks", warned, failed("ben")))


def cells(cohort: Cohort) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table_csv(cohort), newline=""), strict=True))


def test_the_columns_name_their_units(cohort: Cohort) -> None:
    assert table_columns(cohort) == (
        "case", "region", "side", "status",
        "volume_ml", "mean_hu", "sd_hu", "p5_hu", "p50_hu", "p95_hu",
        "low_attenuation_percent", "high_attenuation_percent", "share_of_lung_percent",
        "certainty", "expected_dice", "expected_dice_low", "expected_dice_high",
        "touches_border", "quality_warnings", "error",
    )  # fmt: skip


def test_a_single_region_has_no_share(tmp_path: Path) -> None:
    scan = CohortScan(
        "a", "done", tmp_path, tmp_path, first_region="lung", parts=(PartMeasurements("lung"),)
    )
    assert not any(name.startswith("share") for name in table_columns(Cohort((scan,))))


def test_there_is_one_row_per_scan_region_and_side(cohort: Cohort) -> None:
    rows = cells(cohort)
    assert [(row["case"], row["region"], row["side"], row["volume_ml"]) for row in rows] == [
        ("anna", "lung", "whole", "4000"),
        ("anna", "lung", "right", "2200"),
        ("anna", "lung", "left", "1800"),
        ("anna", "infection", "whole", "400"),
        ("anna", "infection", "right", "400"),
        ("anna", "infection", "left", "0"),
        ("ben", "", "", ""),
    ]
    assert rows[4] | {"certainty": ""} == {
        "case": "anna", "region": "infection", "side": "right", "status": "done",
        "volume_ml": "400", "mean_hu": "-800.5", "sd_hu": "120.25",
        "p5_hu": "-950", "p50_hu": "-850", "p95_hu": "-500",
        "low_attenuation_percent": "6.25", "high_attenuation_percent": "12.5",
        "share_of_lung_percent": "18.18", "certainty": "",
        "expected_dice": "", "expected_dice_low": "", "expected_dice_high": "",
        "touches_border": "feet; head", "quality_warnings": "lung: one; infection: two",
        "error": "",
    }  # fmt: skip
    assert rows[6] == dict.fromkeys(rows[6], "") | {
        "case": "ben",
        "status": "failed",
        "error": "the file is damaged, or no scan",
    }


@pytest.fixture
def with_patients(cohort: Cohort, tmp_path: Path) -> Cohort:
    path = tmp_path / "patients.csv"
    path.write_text("case;age;score;stage;id\nanna;71;-0.50;Größe;007\nzoe;;1;;1\n", "utf-8")
    return join_patients(cohort, path, key="case", taken=table_columns(cohort))


def test_patients_are_added_to_every_row(with_patients: Cohort) -> None:
    rows = cells(with_patients)
    assert [row["id"] for row in rows] == ["007"] * 6 + [""]
    assert [row["score"] for row in rows] == ["-0.50"] * 6 + [""]


def test_a_table_with_other_letters_has_a_byte_order_mark(
    tmp_path: Path, cohort: Cohort, with_patients: Cohort
) -> None:
    path = tmp_path / "cohort.csv"
    assert write_table(path, cohort) == 7
    assert path.read_bytes().startswith(b"case,")
    write_table(path, with_patients)
    assert path.read_bytes().startswith(b"\xef\xbb\xbfcase,")


def test_parquet_has_the_same_rows_with_types(tmp_path: Path, with_patients: Cohort) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "cohort.parquet"
    assert write_table(path, with_patients) == 7
    table = parquet.read_table(path)
    assert table.column_names == [*table_columns(with_patients), "age", "score", "stage", "id"]
    kinds = {name: str(table.schema.field(name).type) for name in table.column_names}
    assert {name for name, kind in kinds.items() if kind == "string"} == {
        *("case", "region", "side", "status", "touches_border", "quality_warnings", "error"),
        *("stage", "id"),
    }
    assert (kinds["age"], kinds["score"], kinds["volume_ml"]) == ("int64", "double", "double")
    rows = table.to_pylist()
    assert [_as_csv(row) for row in rows] == [
        row | {"score": row["score"] and "-0.5"} for row in cells(with_patients)
    ]
    assert (rows[6]["age"], rows[6]["volume_ml"], rows[6]["region"]) == (None, None, "")


def _as_csv(row: dict[str, Any]) -> dict[str, str]:
    return {
        name: "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
        for name, value in row.items()
    }


def test_names_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    """Files from old archives may have such names."""
    scan = CohortScan("M\udcfcller", "done", tmp_path, tmp_path, patient={"age": Decimal(3)})
    cohort = Cohort((scan,), ("age",))
    write_table(tmp_path / "a.csv", cohort)
    assert "M\\udcfcller" in (tmp_path / "a.csv").read_text("utf-8-sig")
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(tmp_path / "a.parquet", cohort)
    assert parquet.read_table(tmp_path / "a.parquet")["case"].to_pylist() == ["M\\udcfcller"]


def test_other_suffixes_are_rejected(tmp_path: Path, cohort: Cohort) -> None:
    with pytest.raises(InputError, match=r"--output must end in \.csv or \.parquet, got .*\.xlsx"):
        write_table(tmp_path / "cohort.xlsx", cohort)
    assert not (tmp_path / "cohort.xlsx").exists()


def test_parquet_without_pyarrow_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.common.errors.find_spec", lambda name: None)
    with pytest.raises(InputError) as error:
        check_output(Path("cohort.parquet"))
    assert str(error.value) == (
        "a .parquet table needs pyarrow, which is not installed; run `pip install "
        "'thorax[parquet]'`"
    )
