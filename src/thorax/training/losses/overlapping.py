"""Losses that are ratios of overlap, 0 for a perfect prediction and at most 1.

``1 - (both + s) / (both + errors + s)`` is computed as ``errors / (both + errors + s)``. Both are
equal, but the second loses no precision, in value or slope, for small errors. Errors are squares,
``(p - t)²``. A ratio with products such as ``p·(1 - t)`` does not have its minimum at ``p = t`` for
soft truth (Wang et al. 2023, "Dice semimetric losses"). ``|p - t|`` has a kink there, which the
exponent of a focal loss turns into a cusp.

Symbols: truth ``t``, probability ``p = sigmoid(z)``, smoothing ``s``; sums go over the pixels of
the batch or of each stack.
"""

from keras import ops

from thorax.training.losses.tensors import Over, Tensor, by_region, in_float32, total

EPSILON = 1e-6
"""Keeps the slope of ``cost^γ`` finite at a perfect prediction for γ below 1."""

ABSENT = 1e30
"""Volume of an absent region in the weights of `generalised_dice`: larger than any other, and
finite to avoid NaN."""


def dice(truth: Tensor, logits: Tensor, *, smoothing: float, over: Over) -> Tensor:
    """Soft Dice loss.

    The denominator has squares as in V-Net (Milletari et al. 2016), so that the loss is 0 at
    ``p = t`` for soft truth, too. An absent region that is not predicted has no loss.

    Formula:

    ```
    loss = 1 - (2·Σ p·t + s) / (Σ p² + Σ t² + s)
    ```

    Args:
        truth: Area fractions ``t``, ``(B, H, W, R)``.
        logits: Logits ``z`` of the same shape.
        smoothing: ``s``, in pixels.
        over: Range of the sums, ``batch`` or each ``stack``.

    Returns:
        One value per region, averaged over the stacks with ``over="stack"``, ``(R,)``.

    Example:
        >>> truth, logits = [[[[1.0], [0.0]]]], [[[[0.0], [0.0]]]]
        >>> loss = dice(truth, logits, smoothing=0.5, over="batch")
        >>> [round(float(value), 4) for value in loss]  # 1 - (2·0.5 + 0.5) / (0.5 + 1 + 0.5)
        [0.25]
    """
    truth, predicted = in_float32(truth), ops.sigmoid(in_float32(logits))
    errors, squares = _squares(truth, predicted, over)
    return by_region(errors / (squares + smoothing))


def tversky(truth: Tensor, logits: Tensor, *, beta: float, smoothing: float, over: Over) -> Tensor:
    """Tversky loss: Dice with separate weights for false negatives and false positives.

    As in Salehi et al. (2017) if prediction and truth are 0 or 1, and `dice` for ``β = 1/2``.
    Errors are squared as in the Dice of V-Net, so that the loss is 0 at ``p = t`` for soft truth,
    too.

    Formula:

    ```
    TP = Σ p·t, FN = Σ max(t - p, 0)², FP = Σ max(p - t, 0)²
    loss = 1 - (TP + s/2) / (TP + β·FN + (1 - β)·FP + s/2)
    ```

    Args:
        truth: Area fractions ``t``, ``(B, H, W, R)``.
        logits: Logits ``z`` of the same shape.
        beta: Weight ``β`` of false negatives; that of false positives is ``1 - β``.
        smoothing: ``s``, in pixels.
        over: Range of the sums, ``batch`` or each ``stack``.

    Returns:
        One value per region, averaged over the stacks with ``over="stack"``, ``(R,)``.

    Example:
        >>> truth, logits = [[[[1.0], [0.0]]]], [[[[0.0], [0.0]]]]
        >>> loss = tversky(truth, logits, beta=0.6, smoothing=0.5, over="batch")
        >>> [round(float(value), 4) for value in loss]  # 1 - 0.75 / (0.5 + 0.15 + 0.1 + 0.25)
        [0.25]
    """
    return by_region(_tversky(truth, logits, beta, smoothing / 2.0, over))


def focal_tversky(
    truth: Tensor, logits: Tensor, *, beta: float, gamma: float, smoothing: float, over: Over
) -> Tensor:
    """Focal Tversky loss (Abraham and Khan 2019, whose exponent is ``1/γ``).

    An exponent below 1 makes the loss steeper the better the prediction is. At a perfect prediction
    the slope would be infinite; ``ε = 1e-6`` keeps it finite.

    Formula:

    ```
    loss = c·(c + ε)^(γ - 1), about c^γ, with the Tversky loss c
    ```

    Args:
        truth: Area fractions ``t``, ``(B, H, W, R)``.
        logits: Logits ``z`` of the same shape.
        beta: Weight ``β`` of false negatives; that of false positives is ``1 - β``.
        gamma: Exponent ``γ``; 1 is `tversky`.
        smoothing: ``s``, in pixels.
        over: Range of the sums, ``batch`` or each ``stack``.

    Returns:
        One value per region, averaged over the stacks with ``over="stack"``, ``(R,)``.

    Example:
        >>> truth, logits = [[[[1.0], [0.0]]]], [[[[0.0], [0.0]]]]
        >>> loss = focal_tversky(
        ...     truth, logits, beta=0.6, gamma=0.5, smoothing=0.5, over="batch"
        ... )
        >>> [round(float(value), 4) for value in loss]  # √0.25
        [0.5]
    """
    cost = _tversky(truth, logits, beta, smoothing / 2.0, over)
    return by_region(cost * ops.power(cost + EPSILON, gamma - 1.0))


def generalised_dice(
    truth: Tensor, logits: Tensor, *, weights: Tensor, smoothing: float, over: Over
) -> Tensor:
    """Generalised Dice loss (Sudre et al. 2017): one ratio for all regions.

    Regions are weighted by one over their squared volume. A single region gives `dice`. ``1 / V²``
    has no upper limit, so a region of less than ``s`` pixels counts as absent and has the weight of
    the smallest present region: its false positives count as much as errors there and do not
    dominate the other regions. The weight ``w`` of a region applies to numerator and denominator;
    a region with ``w = 0`` is ignored.

    Formula:

    ```
    v = w / V², V = Σ t
    loss = 1 - Σ_regions v·(2·Σ p·t + s) / Σ_regions v·(Σ p² + Σ t² + s)
    ```

    Args:
        truth: Area fractions ``t``, ``(B, H, W, R)``.
        logits: Logits ``z`` of the same shape.
        weights: ``w``, one per region, ``(R,)``.
        smoothing: ``s``, in pixels.
        over: Range of the inner sums, ``batch`` or each ``stack``.

    Returns:
        A scalar, averaged over the stacks with ``over="stack"``.

    Example:
        >>> truth, logits = [[[[1.0, 1.0], [1.0, 0.0]]]], [[[[0.0, 0.0], [0.0, 0.0]]]]
        >>> loss = generalised_dice(
        ...     truth, logits, weights=ops.ones(2), smoothing=0.5, over="batch"
        ... )
        >>> round(float(loss), 4)  # (0.5/4 + 0.5) / (3/4 + 2)
        0.2273
    """
    truth, predicted = in_float32(truth), ops.sigmoid(in_float32(logits))
    errors, squares = _squares(truth, predicted, over)
    weights = weights * _by_volume(total(truth, over), smoothing)
    ratios = ops.sum(weights * errors, axis=-1) / ops.sum(weights * (squares + smoothing), axis=-1)
    return ops.mean(ratios)


def _tversky(truth: Tensor, logits: Tensor, beta: float, smoothing: float, over: Over) -> Tensor:
    truth, predicted = in_float32(truth), ops.sigmoid(in_float32(logits))
    missed = total(ops.square(ops.relu(truth - predicted)), over)
    wrong = total(ops.square(ops.relu(predicted - truth)), over)
    errors = beta * missed + (1.0 - beta) * wrong
    return errors / (total(truth * predicted, over) + errors + smoothing)


def _squares(truth: Tensor, predicted: Tensor, over: Over) -> tuple[Tensor, Tensor]:
    """Return ``Σ (p - t)²`` and ``Σ p² + Σ t²``."""
    squares = total(ops.square(predicted), over) + total(ops.square(truth), over)
    return total(ops.square(predicted - truth), over), squares


def _by_volume(volumes: Tensor, smoothing: float) -> Tensor:
    """Return ``1 / V²`` of each region relative to that of the smallest one, so at most 1."""
    present = ops.where(volumes < smoothing, ABSENT, volumes)
    smallest = ops.min(present, axis=-1, keepdims=True)
    return ops.where(volumes < smoothing, 1.0, ops.square(smallest / present))
