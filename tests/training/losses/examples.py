"""Shared by the tests of the losses: small maps, settings, gradients and all losses."""

import dataclasses
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import ArrayLike
from scipy.special import logit

from thorax.common.params import LossName, LossParams
from thorax.training.losses import SegmentationLoss

Loss = Callable[[Any, Any], Any]

NAMES = get_args(LossName)
every_name = pytest.mark.parametrize("name", NAMES)

# Logits whose sigmoid is 3/4, 1/4 and 1/2.
LIKELY, UNLIKELY, EVEN = np.log(3), -np.log(3), 0.0

PLAIN = LossParams(
    part_weights=[],
    region_weights={},
    bce_alpha=0.5,
    focal_alpha=0.5,
    focal_gamma=2.0,
    dice_over="batch",
    dice_smoothing=1.0,
    tversky_beta=0.7,
    tversky_gamma=0.75,
    deep_supervision=0.0,
)


def by_name(name: Any, *, regions: int = 1, **changes: Any) -> SegmentationLoss:
    """Return a loss with the plain settings and changes; regions are ``a``, ``b``, …"""
    params = dataclasses.replace(PLAIN, **changes)
    return SegmentationLoss(name, params, regions=list("abcdefgh"[:regions]))


EVERY = [
    *(pytest.param(by_name(name), id=name) for name in NAMES),
    pytest.param(by_name("bce", bce_alpha=0.9), id="bce, weighted"),
    pytest.param(by_name("focal", focal_gamma=1.0, focal_alpha=0.25), id="focal, weighted"),
    pytest.param(by_name("focal", focal_gamma=0.5), id="focal, gamma below 1"),
    pytest.param(by_name("focal", focal_gamma=0.0, focal_alpha=0.75), id="focal, gamma 0"),
    pytest.param(by_name("dice", dice_smoothing=1e-3), id="dice, little smoothing"),
    pytest.param(by_name("tversky", tversky_beta=0.05), id="tversky, beta near 0"),
    pytest.param(by_name("focal_tversky", tversky_gamma=0.5), id="focal_tversky, square root"),
    pytest.param(by_name("focal_tversky", tversky_gamma=2.0), id="focal_tversky, square"),
    pytest.param(by_name("lovasz", dice_smoothing=1e-3), id="lovasz, little smoothing"),
]
every_loss = pytest.mark.parametrize("loss", EVERY)
every_smooth_loss = pytest.mark.parametrize(
    "loss", [loss for loss in EVERY if not str(loss.id).startswith("lovasz")]
)


def pixels(*values: float) -> np.ndarray:
    """Return one row of pixels with one region: shape ``(1, 1, n, 1)``."""
    return np.array(values, np.float32).reshape(1, 1, -1, 1)


def maps(*regions: ArrayLike) -> np.ndarray:
    """Return one stack with a map per region: shape ``(1, H, W, R)``."""
    return np.stack([np.array(region, np.float32) for region in regions], axis=-1)[None]


def logits_of(probabilities: ArrayLike) -> np.ndarray:
    """Return the logits of probabilities; 0 and 1 become ±30."""
    return np.clip(logit(np.asarray(probabilities, np.float64)), -30, 30).astype(np.float32)


def gradient(loss: Loss, truth: ArrayLike, logits: ArrayLike, dtype: str = "float32") -> np.ndarray:
    """Return the gradient of a loss with respect to logits of this type."""
    variable = tf.Variable(tf.cast(logits, dtype))
    with tf.GradientTape() as tape:
        value = loss(tf.cast(truth, dtype), variable)
    return tape.gradient(value, variable).numpy().astype(np.float64)
