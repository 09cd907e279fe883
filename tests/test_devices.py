"""Sharing batches among devices: two virtual ones, in processes of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from thorax.devices import share_batches
from thorax.errors import InputError

ROOT = Path(__file__).parents[1]


def test_a_machine_without_gpus_shares_nothing() -> None:
    with share_batches("auto") as nothing:
        assert nothing is None
    with share_batches(1) as nothing:
        assert nothing is None


def test_more_gpus_than_there_are_are_refused() -> None:
    with pytest.raises(InputError, match=r"`train.devices: 3` asks for more GPUs than the 0 here"):
        share_batches(3)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_two_devices_learn_what_one_does(backend: str) -> None:
    """The same batches, loss and weights, whether one device has them or two have their halves."""
    environment = os.environ | {
        "KERAS_BACKEND": backend,
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    done = subprocess.run(
        [sys.executable, "-m", f"{Path(__file__).parent.name}.shared_training"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    alone, shared = json.loads(done.stdout.splitlines()[-1])
    assert shared["devices"] == 2
    assert shared["weights"] == pytest.approx(alone["weights"], rel=1e-4)
    assert shared["losses"] == pytest.approx(alone["losses"], rel=1e-4)
    assert alone["losses"][-1] < alone["losses"][0] / 2
