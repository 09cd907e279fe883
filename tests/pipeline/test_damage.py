"""Inputs that are cut short: each stage names the file, and the command that makes it again."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from thorax.common.errors import InputError
from thorax.models.engines.keras_engine import KerasEngine
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
    """Return a project whose one prediction is the truth itself."""
    prepare.main()
    truth = "data/chests/masks/anna-1.nii.gz"
    map_path("anna-1", "lung").parent.mkdir(parents=True)
    shutil.copy(truth, MASK)
    shutil.copy(truth, MAP)
    write_certainty([("anna-1", "lung", 0.5)])
    return project


def cut(name: str) -> None:
    path = Path(name)
    path.write_bytes(path.read_bytes()[:-3])


@pytest.mark.parametrize(
    ("name", "line"),
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
            "data/chests/masks/anna-1.nii.gz .*damaged",
        ),
        (
            "data/records/index.json",
            "data/records/index.json is damaged; run `dvc repro -sf prepare`",
        ),
    ],
)
@pytest.mark.usefixtures("predicted")
def test_evaluate_names_what_is_cut_short(fails: Fails, name: str, line: str) -> None:
    cut(name)
    assert re.fullmatch(line, fails(evaluate.main))


@pytest.mark.parametrize(
    ("name", "stage"),
    [
        ("reports/scores.csv", "evaluate"),
        ("reports/sides.csv", "evaluate"),
        ("reports/calibration.csv", "evaluate"),
        ("reports/summary.json", "evaluate"),
        ("reports/history.csv", "train"),
        ("reports/training.json", "train"),
        (MASK, "predict"),
    ],
)
@pytest.mark.usefixtures("predicted")
def test_report_names_what_is_cut_short(fails: Fails, name: str, stage: str) -> None:
    evaluate.main()
    Path("reports/history.csv").write_text("epoch,loss\n1,0.25\n")
    Path("reports/training.json").write_text('{"epochs": 1}\n')
    cut(name)
    said = fails(report.main)
    assert said.startswith(f"{name} ")
    assert said.endswith(f"; make it again with `dvc repro -sf {stage}`")


@pytest.mark.usefixtures("project")
def test_a_network_and_a_model_that_are_cut_short_are_named(fails: Fails) -> None:
    spec = ModelSpec(8, "none", 0, (-1000, 400), {"lung": (1,)})
    network = pointwise([[20]], [-10], canvas=8)
    save_trained(Path("models/segmenter"), KerasEngine(network), spec)
    export.main()
    cut("models/segmenter.onnx")
    assert fails(predict.main).endswith("make it again with `dvc repro -sf export`")
    kept = Path("models/segmenter.onnx").read_bytes()
    for name in ("model.keras", "spec.json"):
        save_trained(Path("models/segmenter"), KerasEngine(network), spec)
        cut(f"models/segmenter/{name}")
        said = fails(export.main)
        assert f"models/segmenter/{name}" in said
        assert said.endswith("; make it again with `dvc repro -sf train`")
    assert Path("models/segmenter.onnx").read_bytes() == kept


@pytest.mark.parametrize("kind", ["scan", "mask"])
def test_prepare_names_what_vanishes_after_it_was_listed(
    project: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    load = prepare.load_dataset

    def load_and_lose(folder: Path) -> object:
        dataset = load(folder)
        getattr(dataset.case("anna-2"), kind).unlink()
        return dataset

    monkeypatch.setattr(prepare, "load_dataset", load_and_lose)
    said = fails(prepare.main)
    assert said == f"data/chests/{kind}s/anna-2.nii.gz cannot be read: No such file or directory"
    assert not (project / "data/records/index.json").exists()


def test_prepare_goes_on_where_it_was_killed(project: Path) -> None:
    """What a killed run left beside the records is no part of them."""
    prepare.main()
    kept = {path.name: path.read_bytes() for path in Path("data/records").iterdir()}
    for name in ("anna-1.tfrecord", "index.json"):
        (project / "data/records" / f".part-{name}").write_bytes(b"half")
    cut("data/records/ben-1.tfrecord")
    prepare.main()
    assert {path.name: path.read_bytes() for path in Path("data/records").iterdir()} == kept


def test_advice_of_another_kind_is_left_as_it_is() -> None:
    with (
        pytest.raises(InputError, match=r"^there is no data/records/index.json; run `dvc repro"),
        with_rerun_hint("train", Path("data/records")),
    ):
        load_index(Path("data/records"))
