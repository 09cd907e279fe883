"""Losses and gradients on JAX equal those on TensorFlow."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from .examples import NAMES, PLAIN, by_name, gradient

ON_JAX = """
import json
import sys

import jax
import numpy as np

from thorax.common.params import LossParams
from thorax.training.losses import SegmentationLoss

plain, names = json.loads(sys.argv[1])
inputs = np.load(sys.argv[2])
results = {}
for name in names:
    for over in ("batch", "stack"):
        params = LossParams(**plain | {"dice_over": over})
        loss = SegmentationLoss(name, params, regions=["a", "b"])
        with_gradient = jax.jit(jax.value_and_grad(loss.__call__, argnums=1))
        value, gradient = with_gradient(inputs["truth"], inputs["logits"])
        results[f"{name} {over} value"], results[f"{name} {over} gradient"] = value, gradient
np.savez(sys.argv[3], **results)
"""


def test_jax_computes_the_same_losses_and_gradients(tmp_path: Path) -> None:
    generator = np.random.default_rng(11)
    truth = generator.random((2, 4, 4, 2), np.float32)
    logits = generator.normal(0, 2, truth.shape).astype(np.float32)
    np.savez(tmp_path / "inputs.npz", truth=truth, logits=logits)
    settings = json.dumps([dataclasses.asdict(PLAIN), NAMES])
    files = [str(tmp_path / "inputs.npz"), str(tmp_path / "results.npz")]
    subprocess.run(
        [sys.executable, "-c", ON_JAX, settings, *files],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    with np.load(tmp_path / "results.npz") as results:
        for name in NAMES:
            for over in ("batch", "stack"):
                loss = by_name(name, regions=2, dice_over=over)
                np.testing.assert_allclose(
                    results[f"{name} {over} value"], float(loss(truth, logits)), rtol=1e-5
                )
                np.testing.assert_allclose(
                    results[f"{name} {over} gradient"],
                    gradient(loss, truth, logits),
                    rtol=1e-3,
                    atol=1e-7,
                )
