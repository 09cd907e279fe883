"""Sessions: from the parameters to the plan, the model, and batches that fit into memory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.common.params import AugmentationParams
from thorax.datasets.folds import Split
from thorax.imaging.intensity import Window
from thorax.imaging.overlap import Overlap
from thorax.models.keras_file import save_trained
from thorax.preprocessing.index import RecordIndex
from thorax.training.augmentation import Augmentation
from thorax.training.batch_size import BatchTooLargeError
from thorax.training.checkpoint import Checkpoint, save_checkpoint
from thorax.training.devices import SINGLE_DEVICE
from thorax.training.optimizer import unwrap_loss_scaling
from thorax.training.provenance import make_spec
from thorax.training.session import Folders, rarest_region
from thorax.training.trainer import TrainingModel, TrainingPlan

from .conftest import MakeSession

SPLIT = Split(("anna-1", "anna-2"), (), ("ben-1",))
ROW = {"epoch": 1, "loss": 0.5, "learning_rate": 0.0, "gradient_norm": 0.0}


# The plan


def test_the_plan_has_the_slices_of_the_training_cases(make_session: MakeSession) -> None:
    plan = make_session().make_plan(SPLIT, {}, [])
    assert [path.name for path in plan.dataset.paths] == ["anna-1.tfrecord", "anna-2.tfrecord"]
    assert plan.dataset.stacks == 6
    assert (plan.dataset.canvas, plan.dataset.context, plan.dataset.regions) == (8, 1, 2)
    assert plan.regions == ["lung", "infection"]
    assert plan.validation_paths == []


def test_the_checkpoint_depends_on_settings_and_split(make_session: MakeSession) -> None:
    session, other_split = make_session(), Split(("ben-1",), (), ("anna-1", "anna-2"))
    first, again, *others = (
        session.make_plan(split, {"seed": seed}, []).checkpoint.name
        for split, seed in ((SPLIT, 0), (SPLIT, 0), (SPLIT, 1), (other_split, 0))
    )
    assert again == first
    assert len({first, *others}) == 3


def test_a_damaged_record_is_refused(make_session: MakeSession, folders: Folders) -> None:
    session, path = make_session(), folders.records / "anna-2.tfrecord"
    content = bytearray(path.read_bytes())
    content[100] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"record {path} is missing"):
        session.make_plan(SPLIT, {}, [])


def test_the_dataset_has_the_settings_of_the_parameters(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    sections = []

    def augmentation(params: AugmentationParams, *, canvas: int) -> Augmentation:
        sections.append((params, canvas))
        return Augmentation(params, canvas=canvas)

    monkeypatch.setattr("thorax.training.session.Augmentation", augmentation)
    session = make_session(
        train={"fraction": 0.5, "rare_region_share": 0.25, "window": (-900, 100), "context": 2},
        augmentation={"level": "hard", "noise": 0.25},
    )
    dataset = session.make_plan(SPLIT, {}, []).dataset
    assert (dataset.fraction, dataset.rare_region_share, dataset.context) == (0.5, 0.25, 2)
    assert dataset.window == Window(-900, 100)
    assert sections == [(session.params.augmentation, session.index.canvas)]


def test_records_are_kept_in_memory(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thorax.training.session.memory_for_records", lambda: 12345)
    assert make_session().make_plan(SPLIT, {}, []).dataset.memory_bytes == 12345


def test_an_augmentation_on_the_device_needs_jax(make_session: MakeSession) -> None:
    session = make_session(augmentation={"device": "gpu"})
    with pytest.raises(InputError, match=r"`augmentation.device: gpu` needs the JAX backend, got"):
        session.make_plan(SPLIT, {}, [])


def test_a_custom_augmentation_needs_the_cpu(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    session = make_session(augmentation={"device": "gpu", "custom": "models/initial/own.json"})
    with pytest.raises(InputError, match=r"`augmentation.custom` needs `augmentation.device: cpu`"):
        session.make_plan(SPLIT, {}, [])


def test_the_rarest_region_has_the_fewest_voxels(index: RecordIndex) -> None:
    """Infection is a part of the lung."""
    assert rarest_region(["lung", "infection"], index.records) == 1


def test_the_rarest_region_is_that_of_the_given_cases(index: RecordIndex) -> None:
    few, many = Overlap(both=1, truth=1, predicted=1), Overlap(both=9, truth=9, predicted=9)
    ceilings = {"lung": few, "infection": many}, {"lung": many, "infection": few}
    records = [
        replace(record, ceiling=ceiling)
        for record, ceiling in zip(index.records[:2], ceilings, strict=True)
    ]
    assert [rarest_region(["lung", "infection"], [record]) for record in records] == [0, 1]


@pytest.mark.parametrize(
    ("voxels", "rarest"), [((9, 5, 0), 1), ((0, 5, 9), 1), ((0, 0, 9), 2), ((0, 0, 0), 0)]
)
def test_the_rarest_region_is_present_unless_all_are_absent(
    index: RecordIndex, voxels: tuple[int, int, int], rarest: int
) -> None:
    """No slice would show an absent one, so `rare_region_share` would change nothing."""
    regions = ["lung", "infection", "effusion"]
    counts = [Overlap(both=count, truth=count, predicted=count) for count in voxels]
    record = replace(index.records[0], ceiling=dict(zip(regions, counts, strict=True)))
    assert rarest_region(regions, [record]) == rarest


def test_the_reporter_has_the_settings_of_the_parameters(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {}
    monkeypatch.setattr(
        "thorax.training.session.ProgressReporter", lambda **given: settings.update(given)
    )
    session = make_session(train={"picture_interval": 3, "epochs": 7})
    session._reporter(session.make_plan(SPLIT, {}, []))
    assert (settings["picture_interval"], settings["epochs"]) == (3, 7)
    assert settings["regions"] == ["lung", "infection"]


def test_training_cases_for_the_metric_are_drawn_from_the_seed(
    make_session: MakeSession, index: RecordIndex
) -> None:
    """One of the two training cases for one validation case; never more, never synthetic ones."""
    split = Split(("anna-1", "anna-2"), ("ben-1",), ())
    drawn = set()
    for seed in range(6):
        paths = [
            make_session(seed=seed, train={"training_metric": True})
            .make_plan(split, {}, [])
            .training_metric_paths
            for _ in range(2)
        ]
        assert paths[0] == paths[1]
        drawn.add(tuple(path.stem for path in paths[0]))
    assert drawn == {("anna-1",), ("anna-2",)}
    few = Split(("anna-1",), ("anna-2", "ben-1"), ())
    session = make_session(train={"training_metric": True})
    session = replace(session, index=replace(index, additional=(index.entry("ben-1"),)))
    plan = session.make_plan(few, {}, [])
    assert [path.stem for path in plan.dataset.paths] == ["anna-1"]
    assert [path.stem for path in plan.training_metric_paths] == ["anna-1"]
    assert make_session().make_plan(split, {}, []).training_metric_paths == []


def test_callbacks_are_called_after_the_reporter(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fit(model: Any, plan: TrainingPlan, *, callback: Any) -> list[dict[str, float]]:
        callback.on_resume([])
        callback.on_first_validation({"epoch": 0})
        callback.on_validation_end(1, None, [], last=True)
        callback.on_epoch_end(ROW, stacks_per_s=2.0)
        return [ROW]

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getattr__(self, method: str) -> Any:
            return lambda *_, **__: calls.append((self.name, method))

    calls: list[tuple[str, str]] = []
    monkeypatch.setattr("thorax.training.session.fit", fit)
    monkeypatch.setattr("thorax.training.session.ProgressReporter", lambda **_: Recorder("report"))
    session = make_session()
    session.train(session.make_plan(SPLIT, {}, []), callbacks=[Recorder("log")])
    methods = "on_resume", "on_first_validation", "on_validation_end", "on_epoch_end"
    assert calls == [(name, method) for method in methods for name in ("report", "log")]


# The model


@pytest.fixture
def build_model(make_session: MakeSession) -> Any:
    """Return a function that builds the training model for some parameters."""

    def build(policy: str = "float32", **changes: Any) -> TrainingModel:
        session = make_session(policy, **changes)
        return session.build_training_model(session.make_plan(SPLIT, {}, []))

    return build


@pytest.mark.parametrize(
    ("policy", "train", "settings"),
    [
        ("float32", {"accumulate": 2}, ["`train.accumulate: 2`"]),
        ("mixed_float16", {}, ["`train.precision: float16`"]),
        ("mixed_bfloat16", {}, []),
    ],
)
def test_settings_for_a_single_device_are_named(
    build_model: Any,
    monkeypatch: pytest.MonkeyPatch,
    policy: str,
    train: dict[str, Any],
    settings: list[str],
) -> None:
    arguments: dict[str, Any] = {}
    monkeypatch.setattr(
        "thorax.training.session.choose_devices",
        lambda _, **given: arguments.update(given) or SINGLE_DEVICE,
    )
    build_model(policy, train=train)
    assert arguments["single_only"] == settings


def test_the_number_of_gpus_is_that_of_the_parameters(build_model: Any) -> None:
    with pytest.raises(InputError, match=r"`train.devices` must be at most .*, 1, got 2"):
        build_model(train={"devices": 2})


def test_deep_supervision_has_as_many_levels_as_the_network(build_model: Any) -> None:
    depth = {"depth": 3}
    assert build_model(network=depth).levels == 0
    assert build_model(network=depth, losses={"deep_supervision": 0.5}).levels == 2


def test_the_encoder_has_its_own_rate(build_model: Any) -> None:
    training_model = build_model(train={"encoder_rate": 0.125})
    paths = [variable.path for variable in training_model.model.trainable_variables]
    optimizer = unwrap_loss_scaling(training_model.model.optimizer)
    rates = dict(zip(paths, optimizer._rates, strict=True))
    assert rates["encoder_0_conv_0/kernel"] == 0.125
    assert rates["logits/kernel"] == 1.0


@pytest.mark.parametrize(
    ("policy", "scaled"), [("float32", False), ("mixed_bfloat16", False), ("mixed_float16", True)]
)
def test_layers_have_the_chosen_precision(build_model: Any, policy: str, scaled: bool) -> None:
    training_model = build_model(policy)
    network, optimizer = training_model.network, training_model.model.optimizer
    assert network.get_layer("encoder_0_conv_0").dtype_policy.name == policy
    assert (unwrap_loss_scaling(optimizer) is not optimizer) == scaled


def test_a_training_starts_with_the_weights_of_an_earlier_segmenter(
    make_session: MakeSession, folders: Folders, index: RecordIndex
) -> None:
    lines: list[str] = []
    changes = {"network": {"initial_weights": "segmenter"}}
    session = make_session(seed=1, log=lines.append, **changes)
    earlier = make_session()._build("float32")
    save_trained(folders.initial, earlier, make_spec(session.params, index, {}))
    plan = session.make_plan(SPLIT, {}, [])
    network = session.build_training_model(plan).network
    for weights, expected in zip(network.get_weights(), earlier.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, expected)
    # Two convolutions on both levels of the encoder, and on the decoder, one to upsample, logits.
    assert lines == ["8 layers copied, 0 adapted, 0 random"]


# Training


class FakeFit:
    """Stands in for `fit`: fails with batches larger than a limit, and records the sizes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.batches: list[int] = []

    def __call__(self, model: Any, plan: TrainingPlan, *, callback: Any) -> list[dict[str, float]]:
        self.batches.append(plan.batch)
        if plan.batch > self.limit:
            raise BatchTooLargeError(f"a batch of {plan.batch} stacks does not fit")
        return [ROW]


@pytest.fixture
def fake_fit(monkeypatch: pytest.MonkeyPatch) -> FakeFit:
    """Let batches of 1 stack fit into memory, where 4 stacks should."""
    fit = FakeFit(1)
    monkeypatch.setattr("thorax.training.session.fit", fit)
    monkeypatch.setattr("thorax.training.session.largest_batch", lambda *_, **__: 4)
    return fit


def test_the_batch_is_halved_until_it_fits(make_session: MakeSession, fake_fit: FakeFit) -> None:
    lines: list[str] = []
    session = make_session(log=lines.append, train={"batch": "auto"})
    _, history, plan = session.train(session.make_plan(SPLIT, {}, []))
    assert fake_fit.batches == [4, 2, 1]
    assert lines == [
        "batch 4",
        "memory ran out; starting again with batch 2",
        "memory ran out; starting again with batch 1",
    ]
    assert (history, plan.batch) == ([ROW], 1)


def test_a_fixed_batch_is_not_changed(make_session: MakeSession, fake_fit: FakeFit) -> None:
    session = make_session()
    with pytest.raises(BatchTooLargeError, match="a batch of 2 stacks does not fit"):
        session.train(session.make_plan(SPLIT, {}, []))
    assert fake_fit.batches == [2]


def test_finished_epochs_are_kept_if_memory_runs_out(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_after_an_epoch(model: Any, plan: TrainingPlan, *, callback: Any) -> None:
        plan.checkpoint.parent.mkdir(parents=True)
        plan.checkpoint.write_text("an epoch")
        raise BatchTooLargeError("too large")

    monkeypatch.setattr("thorax.training.session.fit", fail_after_an_epoch)
    monkeypatch.setattr("thorax.training.session.largest_batch", lambda *_, **__: 4)
    session = make_session(train={"batch": "auto"})
    plan = session.make_plan(SPLIT, {}, [])
    with pytest.raises(InputError) as error:
        session.train(plan)
    assert str(error.value) == (
        "memory ran out after epochs with batch 4; free some memory and run the same command again "
        f"to resume after them, or delete {plan.checkpoint} to start with a smaller batch"
    )
    assert plan.checkpoint.read_text() == "an epoch"


def test_finished_epochs_are_kept_if_memory_runs_out_after_a_resumption(
    make_session: MakeSession, fake_fit: FakeFit
) -> None:
    """Another program may take the memory in the meantime."""
    session = make_session(train={"batch": "auto"})
    save_checkpoint(session.make_plan(SPLIT, {}, []).checkpoint, Checkpoint([], [], [ROW], batch=4))
    plan = session.make_plan(SPLIT, {}, [])
    with pytest.raises(InputError, match="memory ran out after epochs with batch 4; free some"):
        session.train(plan)
    assert fake_fit.batches == [4]
    assert plan.checkpoint.exists()


def test_several_processes_need_a_batch_size(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their free memory differs."""
    monkeypatch.setattr("thorax.training.session.process_count", lambda: 2)
    with pytest.raises(InputError, match=r"`train.batch` must be a number if several .* got auto"):
        make_session(train={"batch": "auto"}).make_plan(SPLIT, {}, [])


def test_a_resumed_training_keeps_the_batch_size_of_its_checkpoint(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its steps, and so its learning rate, are counted in these batches."""

    def plan_with(fitting: int) -> TrainingPlan:
        monkeypatch.setattr("thorax.training.session.largest_batch", lambda *_, **__: fitting)
        return make_session(train={"batch": "auto"}).make_plan(SPLIT, {}, [])

    plan = plan_with(4)
    save_checkpoint(plan.checkpoint, Checkpoint([], [], [], batch=4))
    assert (plan_with(2).batch, plan_with(2).checkpoint) == (4, plan.checkpoint)
    plan.checkpoint.unlink()
    assert (plan_with(2).batch, plan_with(2).checkpoint) == (2, plan.checkpoint)


def test_the_trained_network_has_no_outputs_of_coarser_levels(
    make_session: MakeSession, fake_fit: FakeFit
) -> None:
    fake_fit.limit = 2
    session = make_session(network={"depth": 2}, losses={"deep_supervision": 0.5})
    network, _, _ = session.train(session.make_plan(SPLIT, {}, []))
    assert [output.shape[-1] for output in network.outputs] == [2]


def test_a_finished_training_leaves_no_checkpoint_and_no_saved_pictures(
    make_session: MakeSession, tmp_path: Path
) -> None:
    session = make_session()
    plan = session.make_plan(SPLIT, {}, [])
    pictures = plan.checkpoint.with_suffix(".pictures")
    pictures.mkdir(parents=True)
    (pictures / "epoch_001_best.png").touch()
    plan.checkpoint.touch()
    plan.checkpoint.with_suffix(".mlflow.json").touch()
    session.delete_checkpoint(plan)
    assert list(plan.checkpoint.parent.iterdir()) == []
