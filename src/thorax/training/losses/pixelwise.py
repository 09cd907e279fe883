"""Losses that are means over independent pixels."""

from keras import ops

from thorax.training.losses.tensors import Tensor, by_region, in_float32

MIN_ERROR = 1e-6
"""Floor of ``|t - p|``, since the slope of ``|0|^γ`` is infinite for γ below 1."""


def bce(truth: Tensor, logits: Tensor, *, alpha: float = 0.5) -> Tensor:
    """Binary cross-entropy, averaged over the pixels of each region.

    The weight depends on the truth alone, so the minimum stays at ``p = t``; a weight on one of the
    two logarithms would move it. With the factor 2, ``α = 1/2`` weights nothing. The logarithms are
    computed as ``t·softplus(-z) + (1 - t)·softplus(z)``, which neither overflows nor loses digits.

    Formula:

    ```
    loss = mean(2·(α·t + (1 - α)·(1 - t)) · (-t·log p - (1 - t)·log(1 - p)))
    ```

    Args:
        truth: Area fractions ``t``, ``(B, H, W, R)``.
        logits: Logits ``z`` of the same shape; ``p = sigmoid(z)``.
        alpha: Weight ``α`` of the region; that of its background is ``1 - α``.

    Returns:
        One value per region in nats, ``(R,)``.

    Example:
        >>> truth, logits = [[[[1.0], [0.0]]]], [[[[0.0], [0.0]]]]
        >>> [round(float(loss), 4) for loss in bce(truth, logits)]  # log 2
        [0.6931]
    """
    truth, logits = in_float32(truth), in_float32(logits)
    return by_region(_balance(truth, alpha) * _cross_entropy(truth, logits))


def focal(truth: Tensor, logits: Tensor, *, gamma: float, alpha: float) -> Tensor:
    """Focal loss for soft truth, averaged over the pixels of each region.

    For truth of 0 and 1 this is the focal loss of Lin et al. (2017) times 2, with which
    ``α = 1/2`` is no weighting and ``γ = 0`` is `bce`. For soft truth it is the quality focal loss
    of Li et al. (2020).

    Formula:

    ```
    loss = mean(2·(α·t + (1 - α)·(1 - t)) · |t - p|^γ · BCE(t, p))
    ```

    Args:
        truth: Area fractions ``t``, ``(B, H, W, R)``.
        logits: Logits ``z`` of the same shape; ``p = sigmoid(z)``.
        gamma: Exponent ``γ``: larger values give easy pixels less weight.
        alpha: Weight ``α`` of the region; that of its background is ``1 - α``.

    Returns:
        One value per region in nats, ``(R,)``.

    Example:
        >>> truth, logits = [[[[1.0], [0.0]]]], [[[[0.0], [0.0]]]]
        >>> loss = focal(truth, logits, gamma=2.0, alpha=0.5)
        >>> [round(float(value), 4) for value in loss]  # (1/2)² · log 2
        [0.1733]
    """
    truth, logits = in_float32(truth), in_float32(logits)
    error = ops.abs(truth - ops.sigmoid(logits))
    focus = ops.power(ops.maximum(error, MIN_ERROR), gamma)
    return by_region(_balance(truth, alpha) * focus * _cross_entropy(truth, logits))


def _balance(truth: Tensor, alpha: float) -> Tensor:
    return 2.0 * (alpha * truth + (1.0 - alpha) * (1.0 - truth))


def _cross_entropy(truth: Tensor, logits: Tensor) -> Tensor:
    return truth * ops.softplus(-logits) + (1.0 - truth) * ops.softplus(logits)
