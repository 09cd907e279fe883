"""Keras on JAX gives the same losses and slopes as Keras on TensorFlow."""

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

from thorax.losses import SegmentationLoss
from thorax.params import LossParams

plain, names = json.loads(sys.argv[1])
given = np.load(sys.argv[2])
found = {}
for name in names:
    for over in ("batch", "stack"):
        params = LossParams(**plain | {"dice_over": over})
        loss = SegmentationLoss(name, params, regions=["a", "b"])
        with_slopes = jax.jit(jax.value_and_grad(loss.__call__, argnums=1))
        value, slopes = with_slopes(given["truth"], given["logits"])
        found[f"{name} {over} value"], found[f"{name} {over} slopes"] = value, slopes
np.savez(sys.argv[3], **found)
"""


def test_jax_gives_the_same_losses_and_slopes(tmp_path: Path) -> None:
    draw = np.random.default_rng(11)
    truth = draw.random((2, 4, 4, 2), np.float32)
    logits = draw.normal(0, 2, truth.shape).astype(np.float32)
    np.savez(tmp_path / "given.npz", truth=truth, logits=logits)
    given = json.dumps([dataclasses.asdict(PLAIN), NAMES])
    files = [str(tmp_path / "given.npz"), str(tmp_path / "found.npz")]
    subprocess.run(
        [sys.executable, "-c", ON_JAX, given, *files],
        env=os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    with np.load(tmp_path / "found.npz") as found:
        for name in NAMES:
            for over in ("batch", "stack"):
                loss = by_name(name, regions=2, dice_over=over)
                np.testing.assert_allclose(
                    found[f"{name} {over} value"], float(loss(truth, logits)), rtol=1e-5
                )
                np.testing.assert_allclose(
                    found[f"{name} {over} slopes"],
                    gradient(loss, truth, logits),
                    rtol=1e-3,
                    atol=1e-7,
                )
