"""`thorax predict --part` and `thorax manifest`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from thorax.cli import main
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from ..learning import pointwise

SaveNifti = Callable[..., Path]
SPEC = ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)})


def thorax(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments)], prog_name="thorax")


@pytest.fixture
def model(save_nifti: SaveNifti, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with the scans a, b and c, and return a trained model."""
    for name in "abc":
        voxels = np.full((8, 8, 4), -1000, np.int16)
        voxels[2:6, 2:6] = 500
        save_nifti(f"scans/{name}.nii.gz", voxels)
    save_trained(tmp_path / "model", pointwise([[80]], [-20], canvas=8), SPEC)
    monkeypatch.chdir(tmp_path)
    return Path("model")


def predict(model: Path, *options: str) -> Result:
    return thorax("predict", "scans", "masks", "--model", model, "--intensity", "hu", *options)


def test_parts_are_merged(model: Path) -> None:
    first = predict(model, "--part", "1/2")
    assert first.exit_code == 0, first.output
    assert first.stdout.splitlines() == ["masks/a.nii.gz", "masks/c.nii.gz"]
    first_line, *_, last_line = first.stderr.splitlines()
    assert first_line == "part 1/2: 2 of 3 scans"
    assert last_line == "2 done, 0 failed: `thorax manifest masks` merges the parts"
    incomplete = thorax("manifest", "masks")
    assert (incomplete.exit_code, incomplete.stdout) == (
        1,
        "Missing: b: no part has started it\n",
    )
    assert incomplete.stderr == (
        "2 done, 0 failed, 1 missing or unfinished, 0 to review: masks/manifest.csv\n"
    )
    assert predict(model, "--part", "2/2").exit_code == 0
    complete = thorax("manifest", "masks")
    assert (complete.exit_code, complete.stdout) == (0, "")


def test_the_part_of_an_array_is_stated(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "1")
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_SIZE", "2")
    result = predict(model)
    assert result.stdout == "masks/b.nii.gz\n"
    assert result.stderr.splitlines()[0] == "part 2/2 (AWS_BATCH_JOB_ARRAY_INDEX): 1 of 3 scans"
    assert len(predict(model, "--part", "1/1").stdout.splitlines()) == 3


def test_a_single_scan_is_no_part(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "1")
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_SIZE", "2")
    single = ("predict", "scans/a.nii.gz", "a.nii.gz", "--model", model, "--intensity", "hu")
    assert thorax(*single).stdout == "a.nii.gz\n"
    refused = thorax(*single, "--part", "1/2")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "Error: --part needs a folder for the masks, got the file a.nii.gz\n",
    )


def test_a_task_with_one_scan_of_its_own_segments_it(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_INDEX", "1")
    monkeypatch.setenv("AWS_BATCH_JOB_ARRAY_SIZE", "2")
    options = ("masks", "--model", model, "--intensity", "hu")
    assert thorax("predict", "scans/a.nii.gz", *options).stdout == "masks/a.nii.gz\n"
    assert thorax("predict", "scans/a.nii.gz", *options, "--part", "2/2").stdout == ""


def test_errors_are_one_line(model: Path) -> None:
    part = predict(model, "--part", "3/2")
    assert (part.exit_code, part.stdout) == (1, "")
    assert part.stderr == (
        "Error: a part must be NUMBER/COUNT, with a number from 1 to the count such as 3/16, got "
        "'3/2'\n"
    )
    empty = thorax("manifest", "scans")
    assert (empty.exit_code, empty.stderr) == (
        1,
        "Error: there is no manifest in scans; name a folder that `thorax predict` has written\n",
    )
