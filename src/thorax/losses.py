"""Losses, each a small function of logits, with one thin Keras class around them.

Shapes and symbols: truth `t` is the area fraction of each region, 0..1, and logits `z` are what
the network gives, both ``(B, H, W, R)``; `p = sigmoid(z)`. Truth is soft wherever a region's
border runs through a pixel, so every loss here is least where ``p = t`` and rounds nothing. All
is computed in float32, whatever the precision of the network, because the sums of a Dice loss
pass 65,504 and small probabilities vanish in half precision.
"""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from thorax.params import LossName, LossParams

Tensor = Any
Loss = Callable[[Tensor, Tensor], Tensor]


def bce(truth: Tensor, logits: Tensor) -> Tensor:
    """Binary cross-entropy, mean over all pixels and regions.

    ``-t·log p - (1 - t)·log(1 - p)``, written as ``t·softplus(-z) + (1 - t)·softplus(z)``, which
    neither overflows nor loses digits, and has the slope ``p - t`` everywhere.

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.

    Returns:
        A scalar in nats.
    """
    return ops.mean(_cross_entropy(_float(truth), _float(logits)))


def focal(truth: Tensor, logits: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """Focal loss for soft truth, mean over all pixels and regions.

    ``2·(α·t + (1 - α)·(1 - t)) · |t - p|^γ · BCE(t, p)``. For truth of 0 and 1 this is the focal
    loss of Lin et al. (2017) up to the factor 2, which makes ``α = 1/2`` no weighting and
    ``γ = 0`` plain cross-entropy; the form for soft truth is the quality focal loss of Li et al.
    (2020).

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.
        gamma: How much easy pixels are played down.
        alpha: Weight of the region against its background.
    """
    truth, logits = _float(truth), _float(logits)
    balance = 2.0 * (alpha * truth + (1.0 - alpha) * (1.0 - truth))
    miss = ops.abs(truth - ops.sigmoid(logits))
    # |0|^γ has no finite slope for γ < 1, hence the floor.
    played_down = ops.power(ops.maximum(miss, 1e-6), gamma)
    return ops.mean(balance * played_down * _cross_entropy(truth, logits))


def dice(truth: Tensor, logits: Tensor, *, smoothing: float) -> Tensor:
    """Soft Dice loss over the batch, mean over the regions.

    ``1 - (2·Σ p·t + s) / (Σ p² + Σ t² + s)``, with squares below as in V-Net (Milletari et al.
    2016), so that it is 0 at ``p = t`` for soft truth too. A region that the batch does not show
    and the network does not find costs nothing.

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.
        smoothing: ``s``, in pixels.
    """
    truth, found = _float(truth), ops.sigmoid(_float(logits))
    over = (0, 1, 2)
    both = ops.sum(found * truth, axis=over)
    either = ops.sum(ops.square(found), axis=over) + ops.sum(ops.square(truth), axis=over)
    return ops.mean(1.0 - (2.0 * both + smoothing) / (either + smoothing))


class SegmentationLoss(keras.losses.Loss):  # type: ignore[misc]
    """A loss by name, for `keras.Model.compile`.

    Args:
        name: ``focal``, ``dice``, ``bce``, ``focal_dice`` or ``bce_dice``; the last two are sums.
        params: The settings of the parts.

    Example:
        >>> params = LossParams(focal_gamma=2.0, focal_alpha=0.5, dice_smoothing=1.0)
        >>> loss = SegmentationLoss("bce", params)
        >>> round(float(loss([[[[1.0]]]], [[[[0.0]]]])), 4)
        0.6931
    """

    def __init__(self, name: LossName, params: LossParams) -> None:
        super().__init__(name=name, dtype="float32")
        known: dict[str, Loss] = {
            "bce": bce,
            "dice": lambda t, z: dice(t, z, smoothing=params.dice_smoothing),
            "focal": lambda t, z: focal(t, z, gamma=params.focal_gamma, alpha=params.focal_alpha),
        }
        self._parts = [known[part] for part in name.split("_")]

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Sum of the parts, a scalar."""
        return sum(part(y_true, y_pred) for part in self._parts)


def _cross_entropy(truth: Tensor, logits: Tensor) -> Tensor:
    return truth * ops.softplus(-logits) + (1.0 - truth) * ops.softplus(logits)


def _float(values: Tensor) -> Tensor:
    return ops.cast(values, "float32")
