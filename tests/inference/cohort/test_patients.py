"""Tables of patients: encodings, separators, keys, and errors by name."""

from decimal import Decimal
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.inference.cohort.patients import join_patients, read_patients
from thorax.inference.cohort.read import read_cohort

from .folders import done, write

EXPECTED = (
    ("age", "sex", "name"),
    {
        "anna": {"age": Decimal(71), "sex": "f", "name": "Größe; 1,5"},
        "ben": {"age": Decimal("-0.50"), "sex": "", "name": ""},
    },
)

TEXTS = {
    "commas": 'case,age,sex,name\nanna,71,f,"Größe; 1,5"\nben,-0.50,,\n',
    "semicolons": 'case;age;sex;name\nanna;71;f;"Größe; 1,5"\nben;-0.50;;\n',
    "tabs": "case\tage\tsex\tname\nanna\t71\tf\tGröße; 1,5\nben\t-0.50\t\t\n",
    "the key not first": 'age;sex;case;name\n71;f;anna;"Größe; 1,5"\n-0.50;;ben;\n',
    "Windows line ends": 'case;age;sex;name\r\nanna;71;f;"Größe; 1,5"\r\nben;-0.50;;\r\n',
    "no last line end": 'case;age;sex;name\nanna;71;f;"Größe; 1,5"\nben;-0.50;;',
    "spaces": 'case ; age;sex;name\nanna ;71 ;f;"Größe; 1,5"\n ben;-0.50;;\n',
    "empty rows and columns": (
        'case;age;sex;name;;\nanna;71;f;"Größe; 1,5";;\n;;;;;\nben;-0.50;;;;\n\n'
    ),
}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_all_forms_give_the_same_patients(tmp_path: Path, text: str, encoding: str) -> None:
    path = tmp_path / "patients.csv"
    path.write_bytes(text.encode(encoding))
    columns, patients = read_patients(path, "case")
    assert set(columns) == set(EXPECTED[0])
    assert patients == EXPECTED[1]


@pytest.mark.parametrize("cell", ["007", "1e3", "+5", "1,5", "0x1", "1_000", " ", "١", "1."])
def test_texts_that_are_no_plain_numbers_are_kept(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "patients.csv"
    path.write_text(f"case;value\nanna;{cell}\n", encoding="utf-8")
    assert read_patients(path, "case")[1]["anna"] == {"value": cell.strip()}


ERRORS = {
    "no key": ("id,age\na,1\n", "must have a column `case` with the names of the cases, got id "
               "and age; name the column with --key"),
    "semicolons without the key": ("id;age\na;1\n", "got id and age; name the column with --key"),
    "empty": ("", "must have a column `case` with the names of the cases, got none"),
    "twice": ("case,age\na,1\nb,2\na,3\n", "each `case` may have one row, but a has a second one "
              "in line 4; remove one"),
    "no case": ("case,age\na,1\n,2\n", "each row needs a `case`, but line 3 has none"),
    "short row": ("case,age\na\n", "each row must have 2 cells like the header, but line 2 has 1"),
    "long row": ("case,age\na,1,2\n", "but line 2 has 3; correct it"),
    "column twice": ("case,age,age\na,1,2\n", "columns need different names, got `age` twice"),
    "key twice": ("case,case\na,b\n", "columns need different names, got `case` twice"),
    "column without a name": ("case,\na,1\n", "each column needs a name, but column 2 has none"),
    "another format in one long line": ("{" * 200_000, "must have a column `case` with the names"),
    "open quotes": ('case,age\na,"1\n', "must be CSV: unexpected end of data; save it as CSV"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "message"), ERRORS.values(), ids=ERRORS.keys())
def test_a_table_that_cannot_be_joined_is_rejected(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "patients.csv"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_patients(path, "case")
    assert message in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_other_encodings_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "patients.csv"
    path.write_bytes("case;Größe\na;1\n".encode("cp1252"))
    with pytest.raises(InputError, match="must be CSV in UTF-8; in a spreadsheet, save it as"):
        read_patients(path, "case")


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.csv cannot be read: No such file"):
        read_patients(tmp_path / "no.csv", "case")


def test_patients_are_joined_and_the_others_are_named(tmp_path: Path) -> None:
    cohort = read_cohort(write(tmp_path, done("anna"), done("ben"), done("carl")))
    path = tmp_path / "patients.csv"
    path.write_text("ID;age\nanna;71\nzoe;3\nyan;4\n")
    joined = join_patients(cohort, path, key="ID", taken=("case", "region"))
    assert joined.patient_columns == ("age",)
    assert [scan.patient for scan in joined.scans] == [{"age": Decimal(71)}, None, None]
    assert joined.notes == (
        f"2 cases have no patient in {path}: ben and carl",
        "2 patients have no case in the manifest: yan and zoe",
    )


def test_a_column_of_measurements_is_not_replaced(tmp_path: Path) -> None:
    cohort = read_cohort(write(tmp_path, done("anna")))
    path = tmp_path / "patients.csv"
    path.write_text("ID,region,side,age\nanna,north,left,71\n")
    with pytest.raises(InputError) as error:
        join_patients(cohort, path, key="ID", taken=("case", "region", "side"))
    assert str(error.value) == (
        f"{path}: a column of patients cannot have the name of a column of measurements, got "
        "region and side; rename it"
    )
