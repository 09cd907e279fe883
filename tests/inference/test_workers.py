"""Several processes segment the same as one."""

import csv
import sys
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from thorax.cli import main
from thorax.common.machine import cores, limit_cores
from thorax.imaging.intensity import HU
from thorax.inference.batch import PredictOptions, predict_folder
from thorax.inference.inputs import find_tasks
from thorax.inference.manifest.row import DONE, FAILED, ManifestRow
from thorax.inference.segmenter import Segmenter
from thorax.inference.workers import predict_in_processes
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


PROGRAM = """
import os
import signal

import numpy as np

from thorax.inference.segmenter import Model, Segmenter
from thorax.models.spec import ModelSpec


class Threshold:
    def probabilities(self, planes):
        if np.any(planes == 900):
            os.kill(os.getpid(), signal.SIGKILL)
        return (planes >= 250).astype(np.float32)[..., np.newaxis]


def make_segmenter():
    spec = ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)})
    return Segmenter([Model(spec, Threshold(), "a" * 64)])
"""
"""Segments voxels of at least 250 HU; 900 HU kill the process, as if it lacked memory."""


@pytest.fixture
def make_segmenter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Segmenter]:
    """Return a function that processes can import."""
    (tmp_path / "threshold_model.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "threshold_model", raising=False)
    loaded: Callable[[], Segmenter] = import_module("threshold_model").make_segmenter
    return loaded


def run(scans: Path, masks: Path, make_segmenter: Callable[[], Segmenter]) -> list[ManifestRow]:
    """Segment with two processes; return the rows that are reported."""
    reported: list[ManifestRow] = []
    predict_folder(
        make_segmenter(),
        find_tasks([scans], masks),
        PredictOptions(intensity=HU),
        folder=masks,
        report=reported.append,
        segment=partial(predict_in_processes, workers=2, load=make_segmenter),
    )
    return reported


def test_a_killed_process_fails_its_scan_only(
    scans: Path, save_nifti: SaveNifti, make_segmenter: Callable[[], Segmenter], tmp_path: Path
) -> None:
    save_nifti("scans/1.nii.gz", np.full((8, 8, 4), 900, np.int16))
    reported = run(scans, tmp_path / "masks", make_segmenter)
    assert sorted((row.case, row.status) for row in reported) == [
        ("0", DONE),
        ("1", FAILED),
        ("2", DONE),
        ("3", DONE),
        ("4", DONE),
    ]
    assert {row.error for row in reported if row.error} == {
        "its process was killed, also when it was the only one; it may need more memory"
    }


def test_ctrl_c_reports_the_scans_that_are_being_segmented(
    scans: Path,
    make_segmenter: Callable[[], Segmenter],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C is pressed while the two processes segment the first two scans."""
    interrupts = [KeyboardInterrupt()]

    def wait_or_stop(*arguments: Any, **others: Any) -> Any:
        if interrupts:
            raise interrupts.pop()
        return wait(*arguments, **others)

    monkeypatch.setattr("thorax.inference.workers.wait", wait_or_stop)
    with pytest.raises(KeyboardInterrupt):
        run(scans, tmp_path / "masks", make_segmenter)
    written = rows(tmp_path / "masks")
    assert [(row["case"], row["status"]) for row in written] == [("0", DONE), ("1", FAILED)]


def test_every_scan_gets_a_row_if_no_process_can_load_the_model(
    scans: Path, make_segmenter: Callable[[], Segmenter], tmp_path: Path
) -> None:
    found = predict_in_processes(
        make_segmenter(),
        find_tasks([scans], tmp_path)[:3],
        PredictOptions(intensity=HU),
        workers=2,
        load=partial(make_segmenter, "an argument too many"),
        report=lambda row: None,
    )
    assert sorted((row.case, row.status) for row in found) == [
        ("0", FAILED),
        ("1", FAILED),
        ("2", FAILED),
    ]


def test_cores_are_limited_to_a_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.common.machine._limits", [])
    limit_cores(1)
    assert cores() == 1
    limit_cores(10**6)
    assert 1 <= cores() < 10**6
