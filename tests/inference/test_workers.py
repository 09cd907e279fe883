"""Several processes segment the same as one."""

import csv
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from thorax.cli import main
from thorax.common.machine import cores, limit_cores
from thorax.inference.manifest.row import FAILED, STARTED, ManifestRow
from thorax.inference.workers import _result
from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from ..learning import pointwise

SaveNifti = Callable[..., Path]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    network = pointwise([[80]], [-20], canvas=8)
    save_trained(tmp_path / "trained", network, ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)}))
    export_model(tmp_path / "trained", tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


@pytest.fixture
def scans(tmp_path: Path, save_nifti: SaveNifti) -> Path:
    """Five scans, the second of which is damaged."""
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(5):
        voxels = np.full((8, 8, 4), -1000, np.int16)
        voxels[1 + number : 6, 2:6] = 500
        save_nifti(f"scans/{number}.nii.gz", voxels)
    (folder / "1.nii.gz").write_bytes(b"not a scan")
    return folder


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "manifest.csv").open(newline="") as stream:
        content = list(csv.DictReader(stream))
    kept = ("case", "status", "lung_ml", "lung_certainty", "error", "model")
    return sorted(({key: row[key] for key in kept} for row in content), key=str)


def test_processes_segment_the_same_as_one(scans: Path, model: Path, tmp_path: Path) -> None:
    results = []
    for folder, more in (("one", []), ("two", ["--workers", "2"])):
        arguments = ["predict", scans, tmp_path / folder, "--model", model, "--intensity", "hu"]
        result = CliRunner().invoke(main, [*map(str, arguments), *more])
        assert result.exit_code == 1
        assert "4 done, 1 failed" in result.stderr
        results.append(sorted(line.split("/")[-1] for line in result.stdout.splitlines()))
    names = ["0.nii.gz", "2.nii.gz", "3.nii.gz", "4.nii.gz"]
    assert results == [names, names]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert len(rows(tmp_path / "one")) == 5
    assert rows(tmp_path / "one") == rows(tmp_path / "two")


def test_a_killed_process_fails_its_scan_only() -> None:
    started = ManifestRow("a", STARTED, "a.nii.gz", "mask.nii.gz", "digest", "settings")
    future: Future[ManifestRow] = Future()
    future.set_exception(BrokenProcessPool("a process was terminated abruptly"))
    row = _result(future, started)
    assert (row.case, row.status) == ("a", FAILED)
    assert row.error == "BrokenProcessPool: a process was terminated abruptly"


def test_cores_are_limited_to_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.common.machine._limits", [])
    limit_cores(1)
    assert cores() == 1
    limit_cores(10**6)
    assert 1 <= cores() < 10**6
