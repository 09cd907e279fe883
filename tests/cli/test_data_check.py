"""`thorax data check` on the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result

from thorax.cli import main

SHIPPED = Path(__file__).parents[2] / "params.yaml"
Run = Callable[..., Result]


@pytest.fixture
def run(study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command in a project with the study as data/chests."""
    (tmp_path / "data").mkdir()
    study.rename(tmp_path / "data/chests")
    params = yaml.safe_load(SHIPPED.read_text()) | {"dataset": "chests"}
    params["train"]["context"] = 3
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(params))
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(main, ["data", "check", *words])


def test_the_default_is_the_dataset_of_params(run: Run) -> None:
    result = run()
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1].startswith("chests: 3 cases, ")
    assert "    3 cases: 3 planes, but a slice stack of the network has 7" in result.stdout
    assert result.stdout == run("chests").stdout == run("data/chests").stdout


def test_an_error_gives_exit_status_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data/chests/masks/ben-1.nii.gz").unlink()
    result = run()
    assert result.exit_code == 1
    assert result.stdout.splitlines()[:3] == [
        "ERRORS",
        "  case-files",
        "    ben-1: there is a scan, but no mask of this name",
    ]


def test_a_copy_that_cannot_be_written_is_refused_before_the_audit(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    result = run("--fix", "taken", "--output", "page.html")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the corrected copy must be a new folder, but taken exists" in result.stderr
    assert not (tmp_path / "page.html").exists()


def test_json_contains_no_name_from_a_header(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "data/chests/scans/ben-1.nii.gz"
    image = nibabel.load(path)
    image.header["descrip"] = b"Jane Planted 1970-01-01"
    nibabel.save(nibabel.Nifti1Image(np.array(image.dataobj), None, image.header), path)
    result = run("--json")
    content = json.loads(result.stdout)
    assert [facts["case"] for facts in content["facts"]] == ["anna-1", "anna-2", "ben-1"]
    assert {finding["severity"] for finding in content["findings"]} <= {"error", "warning", "note"}
    assert "Planted" not in result.stdout
    assert str(tmp_path) not in result.stdout


def test_a_missing_dataset_is_named(run: Run) -> None:
    result = run("lost")
    assert result.exit_code == 1
    assert result.stderr == (
        "Error: a dataset must be a folder, but there is no data/lost and no lost; see "
        "`thorax data list`\n"
    )


def test_a_folder_elsewhere_needs_no_params(run: Run, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").unlink()
    result = run("data/chests")
    assert result.exit_code == 0
    assert "few-planes" not in result.stdout
    assert "params.yaml cannot be read" in run().stderr
