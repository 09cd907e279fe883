"""Losses that are means over pixels, each of which counts by itself."""

from keras import ops

from thorax.training.losses.tensors import Tensor, by_region, in_float32

LEAST_MISS = 1e-6
"""Floor of ``|t - p|``, since ``|0|^γ`` has no finite slope for γ below 1."""


def bce(truth: Tensor, logits: Tensor, *, alpha: float = 0.5) -> Tensor:
    """Binary cross-entropy, mean over all pixels of each region.

    ``2·(α·t + (1 - α)·(1 - t)) · (-t·log p - (1 - t)·log(1 - p))``, where the logarithms are
    written as ``t·softplus(-z) + (1 - t)·softplus(z)``, which neither overflows nor loses digits.
    The weight depends on the truth alone, so it does not move the minimum away from ``p = t``, as
    a weight on one of the two logarithms would; the factor 2 makes ``α = 1/2`` no weighting.

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.
        alpha: Weight of the region; that of its background is ``1 - alpha``.

    Returns:
        One figure a region in nats, ``(R,)``.
    """
    truth, logits = in_float32(truth), in_float32(logits)
    return by_region(_balance(truth, alpha) * _cross_entropy(truth, logits))


def focal(truth: Tensor, logits: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """Focal loss for soft truth, mean over all pixels of each region.

    ``2·(α·t + (1 - α)·(1 - t)) · |t - p|^γ · BCE(t, p)``. For truth of 0 and 1 this is the focal
    loss of Lin et al. (2017) up to the factor 2, which makes ``α = 1/2`` no weighting and
    ``γ = 0`` plain cross-entropy; the form for soft truth is the quality focal loss of Li et al.
    (2020).

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.
        gamma: How much easy pixels are played down.
        alpha: Weight of the region; that of its background is ``1 - alpha``.

    Returns:
        One figure a region in nats, ``(R,)``.
    """
    truth, logits = in_float32(truth), in_float32(logits)
    miss = ops.abs(truth - ops.sigmoid(logits))
    played_down = ops.power(ops.maximum(miss, LEAST_MISS), gamma)
    return by_region(_balance(truth, alpha) * played_down * _cross_entropy(truth, logits))


def _balance(truth: Tensor, alpha: float) -> Tensor:
    return 2.0 * (alpha * truth + (1.0 - alpha) * (1.0 - truth))


def _cross_entropy(truth: Tensor, logits: Tensor) -> Tensor:
    return truth * ops.softplus(-logits) + (1.0 - truth) * ops.softplus(logits)
