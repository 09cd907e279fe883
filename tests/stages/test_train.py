"""The wiring of the training; that it trains is for tests/pipeline to see."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest

from thorax.errors import InputError
from thorax.folds import Split
from thorax.index import Index, load_index
from thorax.params import Params, SplitParams, load_params
from thorax.precision import Chosen
from thorax.stages import prepare
from thorax.stages.train import as_csv, choose_split, describe, describe_segmenter, main, plan

Fails = Callable[[Callable[[], None]], str]
SPLIT = Split(("anna-1", "anna-2"), (), ("ben-1",))


@pytest.fixture
def index(project: Path) -> Index:
    prepare.main()
    return load_index(project / "data/records")


@pytest.fixture
def params(index: Index) -> Params:
    return load_params()


def split_params(**changes: object) -> SplitParams:
    plain = SplitParams(folds=2, fold=0, validation=0, test=[])
    return dataclasses.replace(plain, **changes)


def test_the_folds_of_a_seed_test_each_patient_once(index: Index) -> None:
    splits = [choose_split(index, split_params(fold=fold), 0) for fold in (0, 1)]
    assert {split.test for split in splits} == {("anna-1", "anna-2"), ("ben-1",)}
    assert all(
        set(split.train) == set(other.test)
        for split, other in zip(splits, splits[::-1], strict=True)
    )


def test_cases_that_are_named_take_the_place_of_a_fold(index: Index) -> None:
    assert choose_split(index, split_params(test=["ben-1"], fold=1), 0) == SPLIT


def test_a_test_that_leaves_nothing_to_train_on_is_refused(index: Index) -> None:
    with pytest.raises(InputError, match="no case is left to train on"):
        choose_split(index, split_params(test=["anna-1", "anna-2", "ben-1"]), 0)


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
    }
    assert (told["dataset"], told["loss"], told["seed"]) == ("chests", "focal_dice", 0)
    assert told["precision"] == "float32"
    assert set(told["versions"]) == {"thorax", "keras", told["backend"]}
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
    assert as_csv(history).splitlines() == [
        "epoch,loss,dice,dice_lung,dice_infection",
        "1,0.5,0.25,0.25,",
        "2,0.25,0.75,1.0,0.5",
    ]


def test_a_history_without_validation_has_the_column_that_the_plot_reads() -> None:
    assert as_csv([{"epoch": 1, "loss": 0.5}]) == "epoch,loss,dice\n1,0.5,\n"


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
        "that of the index; make it again with `dvc repro --force prepare`"
    )
    assert not (project / "models").exists()


def test_a_training_without_records_says_how_to_make_them(project: Path, fails: Fails) -> None:
    assert fails(main) == "there is no data/records/index.json; run `dvc repro prepare`"
