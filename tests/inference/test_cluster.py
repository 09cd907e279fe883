"""Workers of a Dask cluster segment the same as one process."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from thorax.cli import main
from thorax.common.errors import InputError
from thorax.imaging.intensity import HU
from thorax.inference.batch import PredictOptions
from thorax.inference.cluster import WorkingFolder, predict_on_cluster
from thorax.inference.inputs import ScanTask
from thorax.inference.manifest.row import DONE, FAILED, ManifestRow
from thorax.inference.segmenter import Segmenter, load
from thorax.models.export import export_model
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec

from ..dask_clusters import local_cluster
from ..learning import pointwise

SaveNifti = Callable[..., Path]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    network = pointwise([[80]], [-20], canvas=8)
    save_trained(folder / "trained", network, ModelSpec(8, "none", 0, (0, 1000), {"lung": (1,)}))
    export_model(folder / "trained", folder / "model.onnx")
    return folder / "model.onnx"


@pytest.fixture(autouse=True)
def _own_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in this process limit its cores and keep their model."""
    monkeypatch.setattr("thorax.common.machine._limits", [])
    monkeypatch.setattr("thorax.inference.cluster._loaded", {})
    monkeypatch.setenv("TF_NUM_INTRAOP_THREADS", "1")


@pytest.fixture
def place(
    tmp_path: Path, model: Path, save_nifti: SaveNifti, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return the current folder with five scans, the second of which is damaged, and a model."""
    for number in range(5):
        voxels = np.full((8, 8, 4), -1000, np.int16)
        voxels[1 + number : 6, 2:6] = 500
        save_nifti(f"scans/{number}.nii.gz", voxels)
    (tmp_path / "scans/1.nii.gz").write_bytes(b"not a scan")
    (tmp_path / "model.onnx").symlink_to(model)
    (tmp_path / "cluster.yaml").write_text(
        "cluster: LocalCluster\nworkers: 2\noptions: {processes: false}\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def predict(masks: str, *more: str) -> Result:
    options = ["--model", "model.onnx", "--intensity", "hu", "--statistics"]
    return CliRunner().invoke(main, ["predict", "scans", masks, *options, *more])


def test_masks_and_rows_are_those_of_a_serial_run(place: Path) -> None:
    serial, cluster = predict("serial"), predict("dask", "--cluster", "cluster.yaml")
    assert (serial.exit_code, cluster.exit_code) == (1, 1)
    assert "Note: dashboard of the cluster: http://" in cluster.stderr
    assert "Note: 1 failed on the worker inproc://" in cluster.stderr
    assert "4 done, 1 failed: dask/manifest.csv" in cluster.stderr
    assert sorted(line[5:] for line in cluster.stdout.splitlines()) == [
        f"{number}.nii.gz" for number in (0, 2, 3, 4)
    ]
    assert b"scans/1.nii.gz" in (place / "dask/manifest.json").read_bytes()
    masks = [f"{number}.{suffix}" for number in (0, 2, 3, 4) for suffix in ("nii.gz", "json")]
    for name in ("manifest.json", "manifest.csv", *masks):
        assert (place / "serial" / name).read_bytes() == (place / "dask" / name).read_bytes()
    again = predict("dask", "--cluster", "cluster.yaml")
    assert "4 done, 1 failed" in again.stderr


def segment_all(place: Path, *cases: str, **options: Any) -> dict[str, ManifestRow]:
    """Segment scans in a cluster of one worker; return the last row of each."""
    tasks = [ScanTask(case, Path(f"scans/{case}.nii.gz"), Path(f"{case}.nii")) for case in cases]
    reported: dict[str, ManifestRow] = {}
    given = {"load": partial(open_segmenter, place)} | options
    with local_cluster(1) as opened:
        predict_on_cluster(
            open_segmenter(place),
            tasks,
            PredictOptions(intensity=HU),
            cluster=opened.cluster,
            report=lambda row: reported.update({row.case: row}),
            **given,
        )
    return reported


def open_segmenter(place: Path) -> Segmenter:
    return Segmenter([load(place / "model.onnx")])


def load_another(place: Path) -> Segmenter:
    return Segmenter([load(place / "model.onnx")], tta=True)


def test_a_mask_that_cannot_be_written_fails_its_scan_only(place: Path) -> None:
    (place / "0.nii").mkdir()
    result = segment_all(place, "0", "2")
    assert (result["0"].status, result["2"].status) == (FAILED, DONE)
    assert result["0"].error == "cannot write 0.nii: a folder has that name; rename it"


def test_a_worker_with_another_model_segments_nothing(place: Path) -> None:
    with pytest.raises(InputError, match="do this: the model must be that of the command"):
        segment_all(place, "0", "2", load=partial(load_another, place))
    assert not (place / "0.nii").exists()


def test_a_worker_without_the_model_gives_the_reason(place: Path) -> None:
    result = segment_all(place, "0", load=partial(open_segmenter, place / "nowhere"))
    assert result["0"].status == FAILED
    assert result["0"].error.startswith(f"there is no model {place}/nowhere/model.onnx; ")


def test_absolute_paths_in_messages_stay_absolute() -> None:
    folder = WorkingFolder(Path("/data/anna"))
    assert str(folder.absolute(Path("../ben/a.nii"))) == "/data/anna/../anna/../ben/a.nii"
    assert folder.relative("/data/anna/../anna/../ben/a.nii: no") == "../ben/a.nii: no"
    assert folder.absolute(Path("/data/anna/a.nii")) == Path("/data/anna/a.nii")
    assert folder.relative("/data/anna/a.nii: no") == "/data/anna/a.nii: no"
    assert WorkingFolder(Path("/")).absolute(Path("a")) == Path("/../a")
    assert WorkingFolder(Path("/")).relative("/../a and /b") == "a and /b"


# Command line


@pytest.mark.parametrize("workers", ["1", "2"])
def test_cluster_and_workers_exclude_each_other(place: Path, workers: str) -> None:
    result = predict("masks", "--cluster", "cluster.yaml", "--workers", workers)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: --workers is the number of local processes and cannot")


def test_a_wrong_cluster_is_one_line_before_anything_is_read(place: Path) -> None:
    result = predict("masks", "--cluster", "none.yaml")
    assert result.stderr == "Error: none.yaml cannot be read: No such file or directory\n"
    assert not (place / "masks").exists()


def test_a_single_mask_needs_no_cluster(place: Path) -> None:
    arguments = ["predict", "scans/0.nii.gz", "0.nii", "--cluster", "cluster.yaml"]
    result = CliRunner().invoke(main, arguments)
    assert result.stderr == "Error: --cluster needs a folder for the masks, got the file 0.nii\n"
