"""Sharing batches among devices: two virtual ones, in processes of their own."""

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


@pytest.mark.parametrize("asked", ["auto", 1])
def test_a_machine_without_gpus_shares_nothing(asked: Any) -> None:
    sharing = choose_devices(asked, batch=8)
    assert sharing.devices == 1
    with sharing.scope() as nothing:
        assert nothing is None


def test_jax_for_the_cpu_alone_shares_nothing() -> None:
    """It knows no kind of device but its own, and says so by an exception."""
    code = "from thorax.devices import share_batches; print(share_batches('auto', batch=8).devices)"
    environment = os.environ | {"KERAS_BACKEND": "jax"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "1\n"), done.stderr


def test_more_gpus_than_there_are_are_refused() -> None:
    with pytest.raises(InputError, match=r"`train.devices: 3` asks for more GPUs than the 0 here"):
        choose_devices(3, batch=8)


@pytest.mark.parametrize(
    ("there", "asked", "batch", "used"),
    [(0, "auto", 8, 1), (2, "auto", 8, 2), (3, "auto", 8, 2), (3, "auto", 7, 1), (4, 2, 8, 2)],
)
def test_a_batch_is_shared_evenly(there: int, asked: Any, batch: int, used: int) -> None:
    assert _count(there, asked, batch) == used


def test_a_batch_without_even_shares_is_refused() -> None:
    with pytest.raises(InputError, match=r"`train.devices: 3` cannot share steps of 8 stacks even"):
        _count(3, 3, 8)


def test_what_tensorflow_cannot_share_stays_on_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thorax.training.devices._gpus", lambda: ["GPU:0", "GPU:1"])
    assert choose_devices("auto", batch=8, unshared=["`train.accumulate: 2`"]) is SINGLE_DEVICE
    assert choose_devices(1, batch=8, unshared=["`train.accumulate: 2`"]) is SINGLE_DEVICE
    with pytest.raises(
        InputError, match=r"`train.devices: 2` does not go with `train.accumulate: 2"
    ):
        choose_devices(2, batch=8, unshared=["`train.accumulate: 2`"])


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_learn_what_one_does(backend: str) -> None:
    """The same batches, loss and weights, whether one device has them or two have their halves."""
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
    alone, shared = json.loads(done.stdout.splitlines()[-1])
    assert (alone["devices"], shared["devices"]) == (1, 2)
    assert (alone["parts"], shared["parts"]) == (1, 2)
    assert shared["weights"] == pytest.approx(alone["weights"], rel=1e-4)
    assert shared["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert shared["norms"] == pytest.approx(alone["norms"], rel=1e-4)
    assert alone["losses"][-1] < alone["losses"][0] / 2
