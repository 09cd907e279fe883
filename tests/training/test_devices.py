"""Devices that share batches: two virtual ones, in separate processes."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.training.devices import SINGLE_DEVICE, _count, choose_devices

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
        match=r"`train.devices` must be at most the number of GPUs, 0, got 3; set it to auto",
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


def test_settings_that_tensorflow_cannot_share_use_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.training.devices._gpus", lambda: ["GPU:0", "GPU:1"])
    assert choose_devices("auto", batch=8, single_only=["`train.accumulate: 2`"]) is SINGLE_DEVICE
    assert choose_devices(1, batch=8, single_only=["`train.accumulate: 2`"]) is SINGLE_DEVICE
    with pytest.raises(
        InputError,
        match=r"`train.devices` must be 1 with `train.accumulate: 2` under Tens.*, got 2",
    ):
        choose_devices(2, batch=8, single_only=["`train.accumulate: 2`"])


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_train_the_same_as_one(backend: str) -> None:
    """Equal losses, weights and gradient norms, whether or not two devices share the batches.

    Without a GPU ``auto`` is one device; JAX for CPUs raises an exception if asked for GPUs.
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
    assert results["auto"] == 1
    assert (alone["devices"], shared["devices"]) == (1, 2)
    assert (alone["parts"], shared["parts"]) == (1, 2)
    assert shared["weights"] == pytest.approx(alone["weights"], rel=1e-4)
    assert shared["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert shared["norms"] == pytest.approx(alone["norms"], rel=1e-4)
    assert alone["losses"][-1] < alone["losses"][0]
