"""The U-Net: what it gives, what its weights depend on, and that its file stands alone."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from thorax.architectures import build
from thorax.errors import InputError
from thorax.params import NetworkParams

ALONE = """
import sys

sys.modules["thorax"] = None  # importing it would fail

import keras
import numpy as np

network = keras.saving.load_model(sys.argv[1], safe_mode=True)
stacks = np.load(sys.argv[2])
np.save(sys.argv[3], np.asarray(network.predict_on_batch(stacks)))
print(keras.backend.backend())
"""


def small(*, seed: int = 0, dtype: str = "float32", canvas: int = 16, depth: int = 2) -> Any:
    """Return a network from stacks of 3 planes to 2 regions."""
    params = NetworkParams("unet", width=2, depth=depth)
    return build(params, canvas=canvas, channels=3, regions=2, seed=seed, dtype=dtype)


def draw_stacks(count: int, *, canvas: int = 16) -> np.ndarray:
    return np.random.default_rng(1).random((count, canvas, canvas, 3), np.float32)


@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_logits_are_float32_maps_of_the_canvas(dtype: str) -> None:
    logits = small(dtype=dtype)(draw_stacks(4))
    assert tuple(logits.shape) == (4, 16, 16, 2)
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert np.isfinite(logits).all()


def test_half_precision_gives_nearly_the_same() -> None:
    stacks = draw_stacks(2)
    exact, half = (
        np.asarray(small(dtype=dtype)(stacks)) for dtype in ("float32", "mixed_bfloat16")
    )
    assert half == pytest.approx(exact, abs=0.05 * float(np.abs(exact).max()))
    assert not np.array_equal(half, exact), "it was not computed in bfloat16"


def test_weights_are_kept_in_float32_in_half_precision() -> None:
    assert {weight.dtype for weight in small(dtype="mixed_float16").weights} == {"float32"}


def test_the_seed_alone_draws_the_weights() -> None:
    keras.utils.set_random_seed(1)
    first = small(seed=5).get_weights()
    keras.utils.set_random_seed(2)
    for one, other in zip(first, small(seed=5).get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_another_seed_draws_other_weights_and_no_two_layers_alike() -> None:
    drawn = [
        weights.ravel()[:8].tolist()
        for seed in (0, 1)
        for weights in small(seed=seed).get_weights()
        if weights.ndim == 4
    ]
    starts = {tuple(weights) for weights in drawn}
    assert len(starts) == len(drawn) > 10


def test_a_stack_is_seen_alike_whatever_else_is_in_the_batch() -> None:
    network, stacks = small(), draw_stacks(3)
    alone = np.asarray(network(stacks[:1]))
    loud = np.concatenate([stacks[:1], 100 * stacks[1:]])
    assert np.asarray(network(loud))[:1] == pytest.approx(alone, abs=1e-5)


def test_training_changes_nothing_but_weights() -> None:
    """No statistics that run along, no dropout: training mode is what prediction mode is."""
    network, stacks = small(), draw_stacks(1)
    np.testing.assert_array_equal(network(stacks, training=True), network(stacks, training=False))
    assert not network.non_trainable_variables


def test_any_plane_and_any_pixel_of_a_stack_matters_to_the_middle() -> None:
    """Depth 2 on 16 pixels: the coarsest level sees all of the canvas."""
    network, stack = small(), draw_stacks(1)
    before = np.asarray(network(stack))[0, 8, 8]
    for at in ((0, 0, 0), (15, 15, 1), (8, 8, 2)):
        changed = stack.copy()
        changed[(0, *at)] += 5.0
        assert not np.allclose(np.asarray(network(changed))[0, 8, 8], before, atol=1e-6)


def test_channels_double_from_level_to_level_and_stop_at_256() -> None:
    params = NetworkParams("unet", width=100, depth=2)
    network = build(params, canvas=4, channels=1, regions=1, seed=0, dtype="float32")
    widths = [layer.filters for layer in network.layers if isinstance(layer, keras.layers.Conv2D)]
    # Conv2DTranspose is a class of its own and stands in none of the pairs.
    assert widths == [100, 100, 200, 200, 256, 256, 200, 200, 100, 100, 1]


def test_a_plane_without_any_contrast_is_no_trouble() -> None:
    assert np.isfinite(small()(np.zeros((1, 16, 16, 3), np.float32))).all()


def test_the_canvas_must_be_halved_as_often_as_the_depth_asks() -> None:
    with pytest.raises(
        InputError,
        match=r"`prepare.canvas` must be divisible by 2\*\*network.depth = 4, got 18",
    ):
        small(canvas=18)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_its_file_loads_without_this_package(tmp_path: Path, backend: str) -> None:
    """In a fresh and isolated interpreter, in Keras' safe mode, on either backend."""
    if not importlib.util.find_spec(backend):
        pytest.skip(f"{backend} is not installed")
    network, stacks = small(depth=1), draw_stacks(2)
    network.save(tmp_path / "model.keras")
    np.save(tmp_path / "stacks.npy", stacks)
    names = ("model.keras", "stacks.npy", "logits.npy")
    # XLA need not optimise what runs once.
    hasty = {"TF_CPP_MIN_LOG_LEVEL": "3", "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    done = subprocess.run(
        [sys.executable, "-I", "-c", ALONE, *(str(tmp_path / name) for name in names)],
        env=os.environ | hasty | {"KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [backend], done.stderr
    logits = np.load(tmp_path / "logits.npy")
    assert logits == pytest.approx(np.asarray(network(stacks)), abs=1e-4)
