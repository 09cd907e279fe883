"""Properties of all networks: outputs, weights, names, and files that load without the package."""

import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from thorax.common.errors import InputError
from thorax.models.networks import is_encoder

Small = Callable[..., Any]

NAMES = ["unet", "attention_unet", "resunet18", "lean"]
every_name = pytest.mark.parametrize("name", NAMES)

LOAD_ALONE = """
import sys

sys.modules["thorax"] = None  # importing it would fail

import keras
import numpy as np

network = keras.saving.load_model(sys.argv[1], safe_mode=True)
stacks = np.load(sys.argv[2])
np.save(sys.argv[3], np.asarray(network.predict_on_batch(stacks)))
print(keras.backend.backend())
"""


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, "mixed_bfloat16") for name in [*NAMES, "resunet34"]),
        ("unet", "float32"),
        ("unet", "mixed_float16"),
    ],
)
def test_logits_are_float32_maps_of_the_canvas_and_so_are_weights(
    shared: Small, stacks: np.ndarray, name: str, dtype: str
) -> None:
    network = shared(name=name, dtype=dtype)
    logits = network(stacks)
    assert tuple(logits.shape) == (4, 16, 16, 2)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(logits).all()
    assert {weight.dtype for weight in network.weights} == {"float32"}


@every_name
def test_half_precision_gives_nearly_the_same(shared: Small, stacks: np.ndarray, name: str) -> None:
    exact, half = (
        np.asarray(shared(name=name, dtype=dtype)(stacks))
        for dtype in ("float32", "mixed_bfloat16")
    )
    assert half == pytest.approx(exact, abs=0.1 * float(np.abs(exact).max()))
    assert not np.array_equal(half, exact), "it was not computed in bfloat16"


@every_name
def test_weights_depend_on_the_seed_alone_and_differ_between_layers(
    shared: Small, small: Small, name: str
) -> None:
    weights = shared(name=name).get_weights()
    keras.utils.set_random_seed(2)
    for expected, actual in zip(weights, small(name=name).get_weights(), strict=True):
        np.testing.assert_array_equal(actual, expected)
    kernels = [
        tuple(kernel.ravel()[:8].tolist())
        for kernel in (*weights, *small(name=name, seed=1).get_weights())
        if kernel.ndim == 4
    ]
    assert len(set(kernels)) == len(kernels) > 10


@every_name
def test_any_slice_and_any_pixel_of_a_stack_matters_to_the_centre(
    small: Small, stacks: np.ndarray, name: str
) -> None:
    """Depth 2 on 16 pixels: the coarsest level covers the whole canvas."""
    network = small(name=name, width=8)
    changed = np.repeat(stacks[:1], 4, axis=0)
    for number, pixel in enumerate(((0, 0, 0), (15, 15, 1), (8, 8, 2)), start=1):
        changed[(number, *pixel)] += 5.0
    before, *after = np.asarray(network(changed))[:, 8, 8]
    assert all(not np.allclose(logits, before, atol=1e-6) for logits in after)


@every_name
def test_training_and_prediction_mode_are_equal(
    shared: Small, stacks: np.ndarray, name: str
) -> None:
    """Without dropout and with rms, which has no running statistics."""
    network = shared(name=name)
    np.testing.assert_array_equal(network(stacks, training=True), network(stacks, training=False))
    assert not network.non_trainable_variables


@pytest.mark.parametrize("name", ["attention_unet", "resunet18", "lean"])
def test_every_kernel_affects_the_logits(small: Small, stacks: np.ndarray, name: str) -> None:
    """Any scaled kernel changes the logits; an attention U-Net has all kernels of a U-Net."""
    network = small(name=name, width=8, normalisation="none")
    before = np.asarray(network(stacks[:1]))
    for weight in network.weights:
        if weight.path.endswith("kernel"):
            kernel = np.asarray(weight)
            weight.assign(kernel * 2)
            assert not np.allclose(network(stacks[:1]), before, rtol=1e-6), weight.path
            weight.assign(kernel)


def names_of(network: Any) -> list[str]:
    """Return the names of the layers with weights."""
    return [layer.name for layer in network.layers if layer.weights]


@every_name
def test_names_of_layers_do_not_depend_on_slices_and_canvas(
    shared: Small, small: Small, name: str
) -> None:
    names = names_of(shared(name=name))
    assert names == names_of(small(name=name, channels=7, canvas=32, seed=3))
    ends = ("_0", "_1", "_2", "conv", "conv1", "conv2", "_shortcut", "_skip", "_signal", "_weights")
    assert all(layer.endswith(ends) for layer in names if layer != "logits")


@pytest.mark.parametrize(
    ("name", "encoder", "others"),
    [
        ("attention_unet", {"encoder"}, {"up", "decoder", "logits", "gate"}),
        ("resunet18", {"stem", "stage1"}, {"up", "decoder", "logits", "skip"}),
    ],
)
def test_layers_of_the_encoder_are_recognised_by_their_names(
    shared: Small, name: str, encoder: set[str], others: set[str]
) -> None:
    names = names_of(shared(name=name))
    assert {layer.split("_")[0] for layer in names if is_encoder(layer)} == encoder
    assert {layer.split("_")[0] for layer in names if not is_encoder(layer)} == others


@every_name
def test_the_canvas_must_be_divisible_once_per_level(small: Small, name: str) -> None:
    with pytest.raises(
        InputError,
        match=r"^`prepare.canvas` must be divisible by 2\*\*network.depth = 4, got 18$",
    ):
        small(name=name, canvas=18)


def test_a_file_loads_without_this_package(
    small: Small, stacks: np.ndarray, tmp_path: Path
) -> None:
    """In a separate isolated interpreter, in Keras' safe mode, on another backend if there is one.

    The network has all layers but normalisations with weights.
    """
    backend = "jax" if importlib.util.find_spec("jax") else "tensorflow"
    network = small(
        name="attention_unet", depth=1, blocks=1, residual=True, dropout=0.1, drop_path=0.1
    )
    network.save(tmp_path / "model.keras")
    np.save(tmp_path / "stacks.npy", stacks)
    names = ("model.keras", "stacks.npy", "logits.npy")
    # Without optimisation XLA compiles faster.
    flags = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", LOAD_ALONE, *(str(tmp_path / name) for name in names)],
        env=os.environ | flags | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [backend], done.stderr
    logits = np.load(tmp_path / "logits.npy")
    assert logits == pytest.approx(np.asarray(network(stacks)), abs=1e-4)
