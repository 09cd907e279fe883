"""Truncated inputs: each stage names the file and the command that recreates it."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.models.keras_file import save_trained
from thorax.models.spec import ModelSpec
from thorax.pipeline import evaluate, export, predict, prepare, report, with_rerun_hint
from thorax.pipeline.prediction_files import map_path, write_certainty
from thorax.preprocessing.index import load_index

from ..learning import pointwise

Fails = Callable[[Callable[[], None]], str]
MASK = "data/predictions/anna-1.nii.gz"
MAP = "data/predictions/probabilities/anna-1_lung.nii.gz"


@pytest.fixture
def predicted(project: Path) -> Path:
    """Return a project with one prediction, a copy of the reference mask."""
    prepare.main()
    truth = "data/chests/masks/anna-1.nii.gz"
    map_path("anna-1", "lung").parent.mkdir(parents=True)
    shutil.copy(truth, MASK)
    shutil.copy(truth, MAP)
    write_certainty([("anna-1", "lung", 0.5)])
    return project


def truncate(name: str) -> None:
    path = Path(name)
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (MASK, f"{MASK} .*damaged; make it again with `dvc repro -sf predict`"),
        (MAP, f"{MAP} .*damaged; make it again with `dvc repro -sf predict`"),
        (
            "data/predictions/certainty.csv",
            "data/predictions/certainty.csv is cut short or damaged; make it again with "
            "`dvc repro -sf predict`",
        ),
        (
            "data/chests/masks/anna-1.nii.gz",
            "data/chests/masks/anna-1.nii.gz is cut short or damaged; copy it again from its "
            "source",
        ),
        (
            "data/records/index.json",
            "data/records/index.json is damaged or of an older format; run `dvc repro -sf prepare`",
        ),
    ],
)
@pytest.mark.usefixtures("predicted")
def test_evaluate_names_truncated_files(fails: Fails, name: str, message: str) -> None:
    truncate(name)
    assert re.fullmatch(message, fails(evaluate.main))


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("reports/scores.csv", "evaluate"),
        ("reports/sides.csv", "evaluate"),
        ("reports/calibration.csv", "evaluate"),
        ("reports/lesions.csv", "evaluate"),
        ("reports/summary.json", "evaluate"),
        ("reports/history.csv", "train"),
        ("reports/training.json", "train"),
        (MASK, "predict"),
    ],
)
@pytest.mark.usefixtures("predicted")
def test_report_names_truncated_files(fails: Fails, name: str, stage: str) -> None:
    evaluate.main()
    Path("reports/history.csv").write_text("epoch,loss\n1,0.25\n")
    Path("reports/training.json").write_text('{"epochs": 1}\n')
    truncate(name)
    message = fails(report.main)
    assert message.startswith(f"{name} ")
    assert message.endswith(f"; make it again with `dvc repro -sf {stage}`")


@pytest.mark.usefixtures("project")
def test_truncated_networks_and_models_are_named(fails: Fails) -> None:
    spec = ModelSpec(8, "none", 0, (-1000, 400), {"lung": (1,)})
    network = pointwise([[20]], [-10], canvas=8)
    save_trained(Path("models/segmenter"), network, spec)
    export.main()
    truncate("models/segmenter.onnx")
    assert fails(predict.main).endswith("make it again with `dvc repro -sf export`")
    kept = Path("models/segmenter.onnx").read_bytes()
    for name in ("model.keras", "spec.json"):
        save_trained(Path("models/segmenter"), network, spec)
        truncate(f"models/segmenter/{name}")
        message = fails(export.main)
        assert f"models/segmenter/{name}" in message
        assert message.endswith("; make it again with `dvc repro -sf train`")
    assert Path("models/segmenter.onnx").read_bytes() == kept


@pytest.mark.parametrize("kind", ["scan", "mask"])
def test_prepare_names_a_file_that_was_deleted_after_listing(
    project: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    load = prepare.load_dataset

    def load_and_delete(folder: Path) -> object:
        dataset = load(folder)
        getattr(dataset.case("anna-2"), kind).unlink()
        return dataset

    monkeypatch.setattr(prepare, "load_dataset", load_and_delete)
    message = fails(prepare.main)
    assert message == f"data/chests/{kind}s/anna-2.nii.gz cannot be read: No such file or directory"
    assert not (project / "data/records/index.json").exists()


def test_prepare_completes_the_records_of_a_killed_run(project: Path) -> None:
    """Partial files of the killed run are deleted."""
    prepare.main()
    kept = {path.name: path.read_bytes() for path in Path("data/records").iterdir()}
    for name in ("anna-1.tfrecord", "index.json"):
        (project / "data/records" / f".part-{name}").write_bytes(b"half")
    truncate("data/records/ben-1.tfrecord")
    prepare.main()
    assert {path.name: path.read_bytes() for path in Path("data/records").iterdir()} == kept


def test_a_message_with_its_own_command_is_unchanged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        pytest.raises(InputError, match=r"^there is no data/records/index.json; run `dvc repro"),
        with_rerun_hint("train", Path("data/records")),
    ):
        load_index(Path("data/records"))
