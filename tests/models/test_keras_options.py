"""Device and precision of Keras networks."""

import re
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from thorax.common.errors import InputError
from thorax.models.keras_options import check_keras_options, has_gpu
from thorax.models.networks import build

from ..settings import PLAIN_NETWORK


def network(dtype: str) -> Any:
    return build(PLAIN_NETWORK, canvas=8, channels=1, regions=1, seed=0, dtype=dtype)


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the GPUs of both backends, none at first."""
    found: list[str] = []
    monkeypatch.setattr(
        "tensorflow.config.list_physical_devices",
        lambda kind: list(found) if kind == "GPU" else ["CPU:0"],
    )
    return found


@pytest.mark.parametrize(
    ("gpu", "device", "message"),
    [
        pytest.param(False, "gpu", "Keras has no GPU here; omit --device", id="no GPU"),
        pytest.param(
            True, "cpu", "--device cpu needs an exported model if there is a GPU", id="not the GPU"
        ),
    ],
)
def test_a_device_that_keras_does_not_use_is_refused(
    gpus: list[str], gpu: bool, device: Any, message: str
) -> None:
    gpus += ["GPU:0"] * gpu
    with pytest.raises(InputError, match=re.escape(message)):
        check_keras_options(network("float32"), device=device, precision="auto")


@pytest.mark.parametrize(
    ("gpu", "device"), [(False, "cpu"), (True, "gpu"), (False, "auto"), (True, "auto")]
)
def test_the_device_that_keras_uses_is_accepted(gpus: list[str], gpu: bool, device: Any) -> None:
    gpus += ["GPU:0"] * gpu
    check_keras_options(network("float32"), device=device, precision="float32")


@pytest.mark.parametrize("half", ["bfloat16", "float16"])
def test_float32_refuses_half_precision(half: str) -> None:
    mixed = network(f"mixed_{half}")
    message = rf"--precision float32 needs a network in float32, but \w+ computes in {half}; omit"
    with pytest.raises(InputError, match=message):
        check_keras_options(mixed, device="auto", precision="float32")
    check_keras_options(mixed, device="auto", precision="auto")


def test_gpus_of_jax_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [SimpleNamespace(platform="cpu")]
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    jax = SimpleNamespace(devices=lambda: devices)
    monkeypatch.setitem(sys.modules, "jax", jax)
    assert not has_gpu()
    devices.append(SimpleNamespace(platform="gpu"))
    assert has_gpu()
