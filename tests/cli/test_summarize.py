"""`thorax summarize` on the command line."""

import csv
import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner, Result

from thorax.cli import main

from ..inference.cohort.folders import done, failed, write
from ..learning import save_dark_model
from ..pages import Parsed

SaveNifti = Callable[..., Path]


def thorax(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    return write(tmp_path / "masks", done("anna"), done("ben"), failed("carl"))


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    path = tmp_path / "patients.csv"
    path.write_text("ID;age;stage\nanna;71;II\nben;64;III\nzoe;3;I\n", encoding="utf-8-sig")
    return path


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def error_of(*arguments: object) -> str:
    """Return the one-line error of a command that writes nothing."""
    result = thorax("summarize", *arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert isinstance(result.exception, SystemExit)
    *_, last = result.stderr.splitlines()
    return last.removeprefix("Error: ")


def test_the_output_of_predict_is_summarized(save_nifti: SaveNifti, tmp_path: Path) -> None:
    """The volumes are those of the masks, on the whole and by side."""
    voxels = np.full((32, 32, 12), 40, np.int16)
    voxels[4:12, 8:24, 2:10] = voxels[20:26, 8:24, 2:10] = -900
    save_nifti("scans/a.nii.gz", voxels, np.diag([5.0, 5.0, 10.0, 1.0]))
    (tmp_path / "scans/b.nii.gz").write_text("no image")
    model, masks = save_dark_model(tmp_path / "model"), tmp_path / "masks"
    options = ("--model", model, "--intensity", "hu", "--statistics", "--no-postprocessing")
    assert thorax("predict", tmp_path / "scans", masks, *options).exit_code == 1
    result = thorax("summarize", masks, "--output", tmp_path / "cohort.csv")
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"wrote {tmp_path}/cohort.csv: 4 rows",
        "1 done, 1 failed",
    ]
    *parts, broken = rows((tmp_path / "cohort.csv").read_text())
    assert [(row["case"], row["region"], row["side"]) for row in parts] == [
        ("a", "lung", "whole"),
        ("a", "lung", "right"),
        ("a", "lung", "left"),
    ]
    mask = np.asarray(nibabel.load(masks / "a.nii.gz").dataobj) > 0
    expected_ml = [float(np.count_nonzero(part) * 0.25) for part in (mask, mask[16:], mask[:16])]
    assert [float(row["volume_ml"]) for row in parts] == expected_ml
    assert min(expected_ml) > 100
    assert float(parts[0]["p50_hu"]) == -900
    assert (broken["case"], broken["status"], broken["volume_ml"]) == ("b", "failed", "")
    assert "b.nii.gz" in broken["error"]


def test_without_an_output_the_table_is_printed(masks: Path) -> None:
    result = thorax("summarize", masks)
    assert result.exit_code == 0
    assert [row["case"] for row in rows(result.stdout)] == ["anna"] * 6 + ["ben"] * 6 + ["carl"]
    assert result.stderr == "2 done, 1 failed\n"


def test_missing_statistics_are_noted(tmp_path: Path) -> None:
    masks = write(tmp_path, done("anna"), statistics=False)
    result = thorax("summarize", masks)
    assert "so only the volume is known: anna; run the same `thorax predict` again with" in (
        result.stderr
    )
    assert [row["volume_ml"] for row in rows(result.stdout)] == ["4000", "400"]


def test_patients_are_joined_by_the_key(masks: Path, patients: Path, tmp_path: Path) -> None:
    output = tmp_path / "out/cohort.csv"
    result = thorax("summarize", masks, "--patients", patients, "--key", "ID", "--output", output)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        f"Note: 1 case has no patient in {patients}: carl",
        "Note: 1 patient has no case in the manifest: zoe",
        f"wrote {output}: 13 rows",
        "2 done, 1 failed",
    ]
    table = rows(output.read_text())
    assert {(row["case"], row["age"], row["stage"]) for row in table} == {
        ("anna", "71", "II"),
        ("ben", "64", "III"),
        ("carl", "", ""),
    }


def test_a_page_is_written_with_groups(masks: Path, patients: Path, tmp_path: Path) -> None:
    page = tmp_path / "cohort.html"
    arguments = ("--patients", patients, "--key", "ID", "--group", "stage", "--page", page)
    result = thorax("summarize", masks, *arguments)
    assert result.exit_code == 0
    assert result.stdout == ""
    assert result.stderr.splitlines()[-2:] == [f"wrote {page}", "2 done, 1 failed"]
    words = Parsed(page.read_text(encoding="utf-8")).words
    assert "3 scans, 2 segmented and 1 to review." in words
    assert "groups by stage II (1), III (1) and not stated (1)" in words
    assert "The scan is no longer in its place." in words


def test_the_table_is_parquet_by_its_suffix(masks: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    output = tmp_path / "cohort.parquet"
    assert thorax("summarize", masks, "--output", output).exit_code == 0
    assert parquet.read_table(output).num_rows == 13


def test_options_that_cannot_be_used_write_nothing(
    masks: Path, patients: Path, tmp_path: Path
) -> None:
    page, output = tmp_path / "new.html", tmp_path / "new.csv"
    with_patients = ("--patients", patients, "--key", "ID", "--output", output)
    assert error_of(masks, "--output", tmp_path / "new.xlsx").startswith(
        "--output must end in .csv or .parquet, got "
    )
    assert error_of(masks, "--page", tmp_path / "new.pdf") == (
        f"--page must end in .html, got {tmp_path}/new.pdf"
    )
    assert error_of(masks, "--group", "age", "--page", page) == (
        "--group needs --patients with the column and --page; add both"
    )
    assert error_of(masks, *with_patients, "--group", "sex", "--page", page) == (
        "--group must be a column of the patients, age and stage, got `sex`"
    )
    assert "must have a column `case`" in error_of(masks, "--patients", patients)
    assert error_of(tmp_path / "no").startswith("MASKS must be a folder that `thorax predict`")
    assert [path.name for path in tmp_path.glob("new*")] == []


def test_a_table_needs_no_package_of_the_page(masks: Path) -> None:
    code = (
        "import sys\nfrom thorax.cli import main\n"
        f"main(['summarize', '{masks}'], standalone_mode=False)\n"
        "unwanted = {'keras', 'tensorflow', 'matplotlib', 'jinja2', 'pyarrow', 'pandas'}\n"
        "print(*sorted(unwanted & set(sys.modules)))"
    )
    output = subprocess.check_output([sys.executable, "-c", code], text=True)
    assert output.splitlines()[-1] == ""
