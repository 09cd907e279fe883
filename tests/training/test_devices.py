"""Devices that share batches: two or eight simulated ones, in separate processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.training.devices import (
    SINGLE_DEVICE,
    DeviceStrategy,
    _count,
    choose_devices,
    free_device_bytes,
)

from .processes import run_trainings

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("requested", ["auto", 1])
def test_a_machine_without_gpus_has_a_single_device(requested: Any) -> None:
    strategy = choose_devices(requested, batch=8)
    assert strategy.devices == 1
    with strategy.scope() as context:
        assert context is None


def test_more_gpus_than_available_are_refused() -> None:
    with pytest.raises(
        InputError,
        match=r"`train.devices` must be at most the number of devices, 1, got 3; set it to auto",
    ):
        choose_devices(3, batch=8)


@pytest.mark.parametrize(
    ("available", "requested", "batch", "used"),
    [(0, "auto", 8, 1), (2, "auto", 8, 2), (3, "auto", 8, 2), (3, "auto", 7, 1), (4, 2, 8, 2)],
)
def test_a_batch_is_divided_evenly(available: int, requested: Any, batch: int, used: int) -> None:
    assert _count(available, requested, batch) == used


def test_gpus_that_do_not_divide_the_batch_are_refused() -> None:
    with pytest.raises(
        InputError, match=r"`train.devices` must divide the batch of 8 stacks, got 3; set it to"
    ):
        _count(3, 3, 8)


@pytest.mark.parametrize(
    ("backend", "statistics", "free"),
    [
        ("jax", {"bytes_limit": 1000, "bytes_in_use": 300}, 700),
        ("jax", {}, 5000),
        ("jax", None, 5000),
        ("tensorflow", {"bytes_limit": 1000, "bytes_in_use": 300}, 5000),
    ],
)
def test_free_memory_is_that_of_the_device_under_jax(
    monkeypatch: pytest.MonkeyPatch, backend: str, statistics: dict[str, int] | None, free: int
) -> None:
    """A CPU has no statistics; the machine has 5,000 free bytes."""
    device = SimpleNamespace(memory_stats=lambda: statistics)
    monkeypatch.setattr("keras.backend.backend", lambda: backend)
    monkeypatch.setattr("jax.local_devices", lambda: [device])
    monkeypatch.setattr("thorax.training.devices.free_memory_bytes", lambda: 5000)
    assert free_device_bytes() == free


def test_settings_that_tensorflow_cannot_share_use_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.training.devices._devices", lambda: [["GPU:0", "GPU:1"]])
    assert choose_devices("auto", batch=8, single_only=["`train.accumulate: 2`"]) is SINGLE_DEVICE
    assert choose_devices(1, batch=8, single_only=["`train.accumulate: 2`"]) is SINGLE_DEVICE
    with pytest.raises(
        InputError,
        match=r"`train.devices` must be 1 with `train.accumulate: 2` under Tens.*, got 2",
    ):
        choose_devices(2, batch=8, single_only=["`train.accumulate: 2`"])


@pytest.mark.parametrize(
    ("available", "requested", "batch", "used"),
    [(4, "auto", 8, 4), (3, "auto", 8, 2), (4, "auto", 6, 3), (4, 2, 8, 2), (1, 1, 2, 1)],
)
def test_two_processes_have_as_many_devices_each(
    available: int, requested: Any, batch: int, used: int
) -> None:
    assert _count(available, requested, batch, processes=2) == used


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"`train.batch` must be a multiple of the 2 processes .*, got 7"
    ):
        _count(1, "auto", 7, processes=2)
    with pytest.raises(
        InputError,
        match=r"`train.devices` must divide the 4 stacks of each process, got 3; set it to auto or "
        r"`train.batch` to a multiple of 6",
    ):
        _count(3, 3, 8, processes=2)


def test_each_process_computes_its_rows_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    stacks, coarse = np.arange(8)[:, None], np.arange(10, 18)
    batches = [(stacks, (stacks + 20, coarse))]
    assert SINGLE_DEVICE.local_part(batches) is batches
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    parts = [DeviceStrategy(8, processes=2, rank=rank).local_part(batches) for rank in (0, 1)]
    (first,), (second,) = parts
    np.testing.assert_array_equal(first[0], [[0], [1], [2], [3]])
    np.testing.assert_array_equal(second[0], [[4], [5], [6], [7]])
    np.testing.assert_array_equal(second[1][0], [[24], [25], [26], [27]])
    np.testing.assert_array_equal(second[1][1], [14, 15, 16, 17])
    ((whole, _),) = SINGLE_DEVICE.local_part(batches)
    np.testing.assert_array_equal(whole, stacks)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_train_the_same_as_one(backend: str) -> None:
    """Equal losses, weights and gradient norms, whether or not two devices share the batches.

    Without a GPU ``auto`` is one device in TensorFlow, and all simulated devices in JAX.
    """
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    done = subprocess.run(
        [sys.executable, "-m", f"{Path(__file__).parents[1].name}.shared_training"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout.splitlines()[-1])
    alone, shared = results["one"], results["two"]
    assert results["auto"] == {"tensorflow": 1, "jax": 2}[backend]
    assert (alone["devices"], shared["devices"]) == (1, 2)
    assert (alone["parts"], shared["parts"]) == (1, 2)
    assert shared["weights"] == pytest.approx(alone["weights"], rel=1e-4)
    assert shared["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert shared["norms"] == pytest.approx(alone["norms"], rel=1e-4)
    assert alone["losses"][-1] < alone["losses"][0]


EIGHT = [f"range({row}, {row + 1})" for row in range(8)]
"""Rows of a batch on each of eight devices."""

SETTINGS: dict[str, dict[str, Any]] = {
    "float32": {"train": {"ema_momentum": 0.9}},
    "everything": {
        "supervision": 0.5,
        "train": {"accumulate": 2, "ema_momentum": 0.9, "clip_norm": 0.5, "weight_decay": 0.01},
    },
}


@pytest.fixture(scope="module")
def eight_devices(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """Train with JAX on one and on eight simulated devices; return the results by name."""
    trainings: dict[str, dict[str, Any]] = {
        f"{name} on {devices}": {"devices": devices, **settings}
        for name, settings in SETTINGS.items()
        for devices in (1, 8)
    }
    resumed = {"name": "resumed", **SETTINGS["float32"]}
    trainings["stopped"] = {"devices": 1, "stop_after": 2, **resumed}
    trainings["resumed"] = {"devices": 8, **resumed}
    done = run_trainings(
        tmp_path_factory.mktemp("devices"), list(trainings.values()), devices=8
    ).finish()
    return dict(zip(trainings, done, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_eight_devices_train_the_same_as_one(
    eight_devices: dict[str, dict[str, Any]], name: str
) -> None:
    """Sums over rows are rounded in another order."""
    alone, shared = eight_devices[f"{name} on 1"], eight_devices[f"{name} on 8"]
    assert (alone["shards"], shared["shards"]) == (["range(0, 8)"], EIGHT)
    assert shared["losses"] == pytest.approx(alone["losses"], rel=1e-5)
    assert shared["norms"] == pytest.approx(alone["norms"], rel=1e-4)
    assert shared["weights"] == pytest.approx(alone["weights"], abs=1e-4)
    assert alone["losses"][-1] < alone["losses"][0]


@pytest.mark.slow
def test_a_training_resumes_on_more_devices(eight_devices: dict[str, dict[str, Any]]) -> None:
    whole, resumed = eight_devices["float32 on 1"], eight_devices["resumed"]
    assert (whole["first_epoch"], resumed["first_epoch"]) == (1, 3)
    assert resumed["losses"] == pytest.approx(whole["losses"], rel=1e-5)
    assert resumed["weights"] == pytest.approx(whole["weights"], abs=1e-4)
