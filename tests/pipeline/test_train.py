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

from thorax.common.errors import InputError
from thorax.common.params import AugmentationParams, Params, load_params
from thorax.datasets.folds import Split
from thorax.imaging.intensity import Window
from thorax.imaging.overlap import Overlap
from thorax.models.keras_file import load_network
from thorax.models.spec import load_spec
from thorax.pipeline import prepare
from thorax.pipeline.paths import INITIAL, RECORDS, REPORTS, checkpoints
from thorax.pipeline.train import main
from thorax.preprocessing.index import RecordIndex, load_index
from thorax.training.augmentation import Augmentation
from thorax.training.batch_size import BatchTooLargeError
from thorax.training.checkpoint import Checkpoint, save_checkpoint
from thorax.training.devices import SINGLE_DEVICE
from thorax.training.optimizer import unwrap_loss_scaling
from thorax.training.precision import PrecisionChoice
from thorax.training.provenance import describe, describe_segmenter, history_csv
from thorax.training.session import Folders, Session, rarest_region
from thorax.training.trainer import TrainingModel, TrainingPlan

Fails = Callable[[Callable[[], None]], str]
SPLIT = Split(("anna-1", "anna-2"), (), ("ben-1",))


@pytest.fixture
def index(project: Path) -> RecordIndex:
    prepare.main()
    return load_index(project / "data/records")


def session_of(params: Params, index: RecordIndex, policy: str = "float32") -> Session:
    """Return the training of these parameters in the folders of the project."""
    folders = Folders(RECORDS, INITIAL, checkpoints(Path.cwd()), REPORTS)
    return Session(params, index, PrecisionChoice(policy, ""), folders, print)


@pytest.fixture
def params(index: RecordIndex) -> Params:
    return load_params()


def test_the_job_is_to_learn_the_planes_of_the_training_cases(
    index: RecordIndex, params: Params
) -> None:
    job = session_of(params, index).plan(SPLIT, {}, [])
    assert [path.name for path in job.source.paths] == ["anna-1.tfrecord", "anna-2.tfrecord"]
    assert job.source.stacks == 6
    assert (job.source.canvas, job.source.context, job.source.regions) == (8, 1, 2)
    assert job.regions == ["lung", "infection"]
    assert job.validation_paths == []


def test_a_checkpoint_is_named_after_all_that_the_training_depends_on(
    index: RecordIndex, params: Params
) -> None:
    other_split = Split(("ben-1",), (), ("anna-1", "anna-2"))
    jobs = [
        session_of(params, index).plan(SPLIT, {"seed": 0}, []),
        session_of(params, index).plan(SPLIT, {"seed": 0}, []),
        session_of(params, index).plan(SPLIT, {"seed": 1}, []),
        session_of(params, index).plan(other_split, {"seed": 0}, []),
    ]
    first, again, *others = (job.checkpoint.name for job in jobs)
    assert again == first
    assert len({first, *others}) == 3


def test_the_provenance_tells_what_went_in_and_no_time(index: RecordIndex, params: Params) -> None:
    told = describe(params, index, SPLIT, PrecisionChoice("float32", "as asked"), initial=INITIAL)
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
    assert told == describe(
        params, index, SPLIT, PrecisionChoice("float32", "for another reason"), initial=INITIAL
    )


def test_the_segmenter_knows_how_its_planes_were_placed(index: RecordIndex, params: Params) -> None:
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
        "epoch,loss,dice,dice_lung,dice_infection,learning_rate,gradient_norm",
        "1,0.5,0.25,0.25,,,",
        "2,0.25,0.75,1,0.5,,",
    ]


def test_a_history_without_validation_has_the_columns_that_the_plots_read() -> None:
    text = history_csv(
        [{"epoch": 1, "loss": 0.5, "learning_rate": 1e-3, "gradient_norm": 2.0}], ["lung"]
    )
    assert text == "epoch,loss,dice,dice_lung,learning_rate,gradient_norm\n1,0.5,,,0.001,2\n"


def test_a_flipped_byte_in_a_record_stops_the_training(
    project: Path, index: RecordIndex, set_params: Callable[..., None], fails: Fails
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


def test_the_rarest_region_has_the_fewest_voxels(index: RecordIndex) -> None:
    """Infection is part of the lung."""
    assert (
        list(index.regions)[rarest_region(index, [record.case for record in index.records])]
        == "infection"
    )


def test_the_rarest_region_is_that_of_the_given_cases_alone(index: RecordIndex) -> None:
    few, many = Overlap(both=1, truth=1, predicted=1), Overlap(both=9, truth=9, predicted=9)
    first, second, *_ = index.records
    sides = {"lung": few, "infection": many}, {"lung": many, "infection": few}
    records = [
        replace(record, ceiling=ceiling)
        for record, ceiling in zip((first, second), sides, strict=True)
    ]
    turned = replace(index, records=records)
    assert [rarest_region(turned, [record.case]) for record in records] == [0, 1]


def test_files_that_training_depends_on_are_part_of_its_name(
    project: Path, index: RecordIndex, set_params: Callable[..., None]
) -> None:
    names = []
    for content in ("{}", "{ }"):
        (project / "mine.json").write_text(content)
        set_params(augmentation={"custom": "mine.json", "level": "none"})
        params = load_params()
        told = describe(params, index, SPLIT, PrecisionChoice("float32", ""), initial=INITIAL)
        assert list(told["files_sha256"]) == ["mine.json"]
        names.append(session_of(params, index).plan(SPLIT, told, []).checkpoint.name)
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
    index: RecordIndex,
    set_params: Callable[..., None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With a rate of next to nothing, the weights are those of the start."""
    set_params(**small())
    main()
    shutil.copytree("models/segmenter", "models/initial")
    set_params(
        **small(seed=1, network={"initial_weights": "segmenter"}, train={"learning_rate": 1e-9})
    )
    main()
    assert "copied" in capsys.readouterr().err
    earlier, later = (
        load_network(project / "models" / name / "model.keras") for name in ("start", "segmenter")
    )
    for one, other in zip(earlier.get_weights(), later.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_a_start_that_is_not_there_is_told_of(
    index: RecordIndex, set_params: Callable[..., None], fails: Fails
) -> None:
    set_params(**small(network={"initial_weights": "segmenter"}))
    assert fails(main).startswith("models/initial/model.keras cannot be read: No such file")


def test_batches_are_halved_until_they_fit(
    index: RecordIndex,
    set_params: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tried = []

    def fit_at_last(trainee: Any, job: Any, *, watcher: Any) -> list[dict[str, float]]:
        tried.append(job.batch)
        if job.batch > 1:
            raise BatchTooLargeError("too large")
        return [{"epoch": 1, "loss": 0.5, "learning_rate": 0.0, "gradient_norm": 0.0}]

    monkeypatch.setattr("thorax.training.session.fit", fit_at_last)
    monkeypatch.setattr("thorax.training.session.largest_batch", lambda *_, **__: 4)
    set_params(**small(train={"batch": "auto"}))
    main()
    assert tried == [4, 2, 1]
    assert "memory ran out; beginning again with batch 2" in capsys.readouterr().err
    told = load_spec(Path("models/segmenter")).provenance
    assert (told["train"]["batch"], told["batch"]) == ("auto", 1)


@pytest.fixture
def auto(
    index: RecordIndex, set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], TrainingPlan]:
    """Return a function that plans a training with `batch: auto` where so many stacks fit."""
    set_params(**small(train={"batch": "auto"}))

    def planned(fitting: int) -> TrainingPlan:
        monkeypatch.setattr("thorax.training.session.largest_batch", lambda *_, **__: fitting)
        params = load_params()
        return session_of(params, index).plan(SPLIT, {}, [])

    return planned


def test_a_resumed_training_keeps_the_batch_of_its_checkpoint(
    auto: Callable[[int], TrainingPlan],
) -> None:
    """Its steps, and so its learning rate, are counted in these batches."""
    job = auto(4)
    save_checkpoint(job.checkpoint, Checkpoint([], [], [], batch=4))
    assert (auto(2).batch, auto(2).checkpoint) == (4, job.checkpoint)
    job.checkpoint.unlink()
    assert (auto(2).batch, auto(2).checkpoint) == (2, job.checkpoint)


def test_memory_that_runs_out_after_some_epochs_costs_none_of_them(
    index: RecordIndex,
    set_params: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    fails: Fails,
) -> None:
    kept: list[Path] = []

    def fit_at_first(trainee: Any, job: Any, *, watcher: Any) -> None:
        job.checkpoint.parent.mkdir(parents=True)
        job.checkpoint.write_text("an epoch")
        kept.append(job.checkpoint)
        raise BatchTooLargeError("too large")

    monkeypatch.setattr("thorax.training.session.fit", fit_at_first)
    monkeypatch.setattr("thorax.training.session.largest_batch", lambda *_, **__: 4)
    set_params(**small(train={"batch": "auto"}))
    assert fails(main) == (
        "memory ran out, though epochs with batch 4 went through; the same command goes on after "
        "them"
    )
    assert [path.read_text() for path in kept] == ["an epoch"]


@pytest.mark.parametrize(
    ("policy", "train", "named"),
    [
        ("float32", {"accumulate": 2}, ["`train.accumulate: 2`"]),
        ("mixed_float16", {}, ["`train.precision: float16`"]),
        ("mixed_bfloat16", {}, []),
    ],
)
def test_what_cannot_be_shared_is_named(
    get_ready: Callable[..., TrainingModel],
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    train: dict[str, Any],
    named: list[str],
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "thorax.training.session.choose_devices",
        lambda _, **given: asked.update(given) or SINGLE_DEVICE,
    )
    get_ready(policy, train=train)
    assert asked["unshared"] == named


def test_a_batch_that_was_asked_for_is_not_changed(
    index: RecordIndex,
    set_params: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
    fails: Fails,
) -> None:
    def fit_never(*_: Any, **__: Any) -> None:
        raise BatchTooLargeError("a batch of 2 stacks does not fit")

    monkeypatch.setattr("thorax.training.session.fit", fit_never)
    set_params(**small())
    assert fails(main) == "a batch of 2 stacks does not fit"


def test_coarser_levels_are_trained_and_leave_no_trace_in_the_segmenter(
    project: Path, index: RecordIndex, set_params: Callable[..., None]
) -> None:
    changes = small(network={"depth": 2}, losses={"deep_supervision": 0.5})
    set_params(**changes)
    main()
    network = load_network(project / "models/segmenter/model.keras")
    assert [output.shape[-1] for output in network.outputs] == [2]


# What the parameters reach


def test_the_stacks_are_made_as_the_parameters_say(
    index: RecordIndex, set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def augmentation(params: AugmentationParams) -> Augmentation:
        given.append(params)
        return Augmentation(params)

    monkeypatch.setattr("thorax.training.session.Augmentation", augmentation)
    set_params(
        train={"fraction": 0.5, "rare_region_share": 0.25, "window": [-900, 100], "context": 2},
        augmentation={"level": "hard", "noise": 0.25},
    )
    params = load_params()
    source = session_of(params, index).plan(SPLIT, {}, []).source
    assert (source.fraction, source.rare_region_share, source.context) == (0.5, 0.25, 2)
    assert source.window == Window(-900, 100)
    assert given == [params.augmentation]


@pytest.fixture
def get_ready(index: RecordIndex, set_params: Callable[..., None]) -> Callable[..., TrainingModel]:
    """Return a function that makes what is trained by parameters with changes."""

    def trainee(policy: str = "float32", **changes: Any) -> TrainingModel:
        set_params(**small(**changes))
        params = load_params()
        session = session_of(params, index, policy)
        return session.build_training_model(session.plan(SPLIT, {}, []))

    return trainee


def test_supervision_goes_as_deep_as_the_network(get_ready: Callable[..., TrainingModel]) -> None:
    depth = {"depth": 3}
    assert get_ready(network=depth).levels == 0
    assert get_ready(network=depth, losses={"deep_supervision": 0.5}).levels == 2


def test_the_encoder_has_its_own_rate(get_ready: Callable[..., TrainingModel]) -> None:
    trainee = get_ready(train={"encoder_rate": 0.125})
    rates = dict(
        zip(
            (variable.path for variable in trainee.model.trainable_variables),
            unwrap_loss_scaling(trainee.model.optimizer)._rates,
            strict=True,
        )
    )
    assert rates["encoder_0_conv_0/kernel"] == 0.125
    assert rates["logits/kernel"] == 1.0


@pytest.mark.parametrize(
    ("policy", "scaled"), [("float32", False), ("mixed_bfloat16", False), ("mixed_float16", True)]
)
def test_layers_compute_in_the_chosen_precision(
    get_ready: Callable[..., TrainingModel], policy: str, scaled: bool
) -> None:
    trainee = get_ready(policy)
    assert trainee.network.get_layer("encoder_0_conv_0").dtype_policy.name == policy
    assert (unwrap_loss_scaling(trainee.model.optimizer) is not trainee.model.optimizer) == scaled


def test_as_many_gpus_are_asked_for_as_the_parameters_say(
    get_ready: Callable[..., TrainingModel],
) -> None:
    with pytest.raises(InputError, match=r"`train.devices: 2` asks for more GPUs than the 0 here"):
        get_ready(train={"devices": 2})


def test_pictures_are_drawn_as_often_as_asked(
    index: RecordIndex, set_params: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(
        "thorax.training.session.ProgressReporter", lambda **given: asked.update(given)
    )
    set_params(train={"picture_interval": 3, "epochs": 7})
    params = load_params()
    session = session_of(params, index)
    session._reporter(session.plan(SPLIT, {}, []))
    assert (asked["every"], asked["epochs"], asked["regions"]) == (3, 7, ["lung", "infection"])


def test_a_patience_without_validation_is_refused(
    index: RecordIndex, set_params: Callable[..., None], fails: Fails
) -> None:
    set_params(**small(train={"early_stopping_patience": 3}))
    assert fails(main).startswith(
        "`train.early_stopping_patience` needs cases that watch the training"
    )
