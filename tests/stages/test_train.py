"""The wiring of the training; that it trains is for tests/pipeline to see."""

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorax.engines.keras_engine import load_network
from thorax.folds import Split
from thorax.index import Index, load_index
from thorax.memory import BatchTooLargeError
from thorax.overlap import Overlap
from thorax.params import Params, load_params
from thorax.precision import Chosen
from thorax.stages import prepare
from thorax.stages.train import (
    build_for,
    describe,
    describe_segmenter,
    history_csv,
    main,
    plan,
    rarest,
    start,
)

Fails = Callable[[Callable[[], None]], str]
SPLIT = Split(("anna-1", "anna-2"), (), ("ben-1",))


@pytest.fixture
def index(project: Path) -> Index:
    prepare.main()
    return load_index(project / "data/records")


@pytest.fixture
def params(index: Index) -> Params:
    return load_params()


def test_the_job_is_to_learn_the_planes_of_the_training_cases(index: Index, params: Params) -> None:
    job = plan(params, index, SPLIT, {})
    assert [path.name for path in job.source.paths] == ["anna-1.tfrecord", "anna-2.tfrecord"]
    assert job.source.stacks == 6
    assert (job.source.canvas, job.source.context, job.source.regions) == (8, 1, 2)
    assert job.regions == ["lung", "infection"]
    assert job.watched == []


def test_a_checkpoint_is_named_after_all_that_the_training_depends_on(
    index: Index, params: Params
) -> None:
    other_split = Split(("ben-1",), (), ("anna-1", "anna-2"))
    jobs = [
        plan(params, index, SPLIT, {"seed": 0}),
        plan(params, index, SPLIT, {"seed": 0}),
        plan(params, index, SPLIT, {"seed": 1}),
        plan(params, index, other_split, {"seed": 0}),
    ]
    first, again, *others = (job.checkpoint.name for job in jobs)
    assert again == first
    assert len({first, *others}) == 3


def test_the_provenance_tells_what_went_in_and_no_time(index: Index, params: Params) -> None:
    told = describe(params, index, SPLIT, Chosen("float32", "as asked"))
    assert json.loads(json.dumps(told))["split"] == {
        "train": ["anna-1", "anna-2"],
        "validation": [],
        "test": ["ben-1"],
        "note": "",
    }
    assert (told["dataset"], told["loss"], told["seed"]) == ("chests", "focal_dice", 0)
    assert told["precision"] == "float32"
    assert set(told["versions"]) == {
        "python", "thorax", "keras", told["backend"], "numpy", "albumentations",
    }  # fmt: skip
    assert set(told["machine"]) == {"system", "instructions", "cores"}
    assert told == describe(params, index, SPLIT, Chosen("float32", "for another reason"))


def test_the_segmenter_knows_how_its_planes_were_placed(index: Index, params: Params) -> None:
    spec = describe_segmenter(params, index, {"seed": 0})
    assert (spec.canvas, spec.crop, spec.context, spec.window_hu) == (8, "none", 1, (-1000, 400))
    assert spec.regions == {"lung": (1, 2), "infection": (2,)}
    assert spec.provenance == {"seed": 0}


def test_the_history_has_one_row_an_epoch_and_leaves_empty_what_is_undefined() -> None:
    history = [
        {"epoch": 1, "loss": 0.5, "dice": 0.25, "dice_lung": 0.25, "dice_infection": math.nan},
        {"epoch": 2, "loss": 0.25, "dice": 0.75, "dice_lung": 1.0, "dice_infection": 0.5},
    ]
    assert history_csv(history, ["lung", "infection"]).splitlines() == [
        "epoch,loss,dice,dice_lung,dice_infection,rate,gradient_norm",
        "1,0.5,0.25,0.25,,,",
        "2,0.25,0.75,1,0.5,,",
    ]


def test_a_history_without_validation_has_the_columns_that_the_plots_read() -> None:
    text = history_csv([{"epoch": 1, "loss": 0.5, "rate": 1e-3, "gradient_norm": 2.0}], ["lung"])
    assert text == "epoch,loss,dice,dice_lung,rate,gradient_norm\n1,0.5,,,0.001,2\n"


def test_a_flipped_byte_in_a_record_stops_the_training(
    project: Path, index: Index, set_params: Callable[..., None], fails: Fails
) -> None:
    set_params(split={"test": ["ben-1"], "validation": 0}, train={"precision": "float32"})
    record = project / "data/records/anna-2.tfrecord"
    content = bytearray(record.read_bytes())
    content[100] ^= 1
    record.write_bytes(content)
    assert fails(main) == (
        "record data/records/anna-2.tfrecord is missing, cut short or damaged: its digest is not "
        "that of the index; make it again with `dvc repro -sf prepare`"
    )
    assert not (project / "models").exists()


def test_a_training_without_records_says_how_to_make_them(project: Path, fails: Fails) -> None:
    assert fails(main) == "there is no data/records/index.json; run `dvc repro prepare`"


# The rarest region, start weights, batches that fit


def test_the_rarest_region_has_the_fewest_voxels(index: Index) -> None:
    """Infection is part of the lung."""
    assert (
        list(index.regions)[rarest(index, [record.case for record in index.records])] == "infection"
    )


def test_the_rarest_region_is_that_of_the_given_cases_alone(index: Index) -> None:
    few, many = Overlap(both=1, truth=1, predicted=1), Overlap(both=9, truth=9, predicted=9)
    first, second, *_ = index.records
    sides = {"lung": few, "infection": many}, {"lung": many, "infection": few}
    records = [
        replace(record, ceiling=ceiling)
        for record, ceiling in zip((first, second), sides, strict=True)
    ]
    turned = replace(index, records=records)
    assert [rarest(turned, [record.case]) for record in records] == [0, 1]


def test_files_that_training_depends_on_are_part_of_its_name(
    project: Path, index: Index, set_params: Callable[..., None]
) -> None:
    names = []
    for content in ("{}", "{ }"):
        (project / "mine.json").write_text(content)
        set_params(augmentation={"custom": "mine.json", "level": "none"})
        params = load_params()
        told = describe(params, index, SPLIT, Chosen("float32", ""))
        assert list(told["files_sha256"]) == ["mine.json"]
        names.append(plan(params, index, SPLIT, told).checkpoint.name)
    assert names[0] != names[1]


SMALL = {
    "split": {"test": ["ben-1"], "validation": 0},
    "network": {"width": 2, "depth": 1},
    "train": {"precision": "float32", "epochs": 1, "batch": 2},
}


def small(**changes: Any) -> dict[str, Any]:
    """Return the parameters of a training of a second, with changes."""
    return {
        key: SMALL.get(key, {}) | changes.get(key, {}) if isinstance(one, dict) else one
        for key, one in (SMALL | changes).items()
    }


def test_training_starts_where_an_earlier_segmenter_ended(
    project: Path,
    index: Index,
    set_params: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a rate of next to nothing, the weights are those of the start."""
    set_params(**small())
    main()
    shutil.copytree("models/segmenter", "models/start")
    set_params(**small(seed=1, network={"start": "segmenter"}, train={"learning_rate": 1e-9}))
    main()
    assert "copied" in capsys.readouterr().err
    earlier, later = (
        load_network(project / "models" / name / "model.keras") for name in ("start", "segmenter")
    )
    for one, other in zip(earlier.get_weights(), later.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_start_that_is_not_there_is_told_of(
    index: Index, set_params: Callable[..., None], fails: Fails
) -> None:
    set_params(**small(network={"start": "segmenter"}))
    assert fails(main).startswith("models/start/model.keras cannot be read: No such file")


def test_fresh_weights_stay_what_they_are(index: Index, set_params: Callable[..., None]) -> None:
    set_params(**small())
    network = build_for(load_params(), index, "float32")
    before = network.get_weights()
    start(network, "fresh", ["lung", "infection"])
    for one, other in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_batches_are_halved_until_they_fit(
    index: Index,
    set_params: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried = []

    def fit_at_last(trainee: Any, job: Any, *, watcher: Any) -> list[dict[str, float]]:
        tried.append(job.batch)
        if job.batch > 1:
            raise BatchTooLargeError("too large")
        return [{"epoch": 1, "loss": 0.5, "rate": 0.0, "gradient_norm": 0.0}]

    monkeypatch.setattr("thorax.stages.train.fit", fit_at_last)
    monkeypatch.setattr("thorax.stages.train.largest_batch", lambda *_, **__: 4)
    set_params(**small(train={"batch": "auto"}))
    main()
    assert tried == [4, 2, 1]
    assert "memory ran out; beginning again with batch 2" in capsys.readouterr().err


def test_a_batch_that_was_asked_for_is_not_changed(
    index: Index,
    set_params: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    fails: Fails,
) -> None:
    def fit_never(*_: Any, **__: Any) -> None:
        raise BatchTooLargeError("a batch of 2 stacks does not fit")

    monkeypatch.setattr("thorax.stages.train.fit", fit_never)
    set_params(**small())
    assert fails(main) == "a batch of 2 stacks does not fit"


def test_coarser_levels_are_trained_and_leave_no_trace_in_the_segmenter(
    project: Path, index: Index, set_params: Callable[..., None]
) -> None:
    changes = small(network={"depth": 2}, losses={"deep_supervision": 0.5})
    set_params(**changes)
    main()
    network = load_network(project / "models/segmenter/model.keras")
    assert [output.shape[-1] for output in network.outputs] == [2]


def test_a_patience_without_validation_is_refused(
    index: Index, set_params: Callable[..., None], fails: Fails
) -> None:
    set_params(**small(train={"patience": 3}))
    assert fails(main).startswith("`train.patience` needs cases that watch the training")
