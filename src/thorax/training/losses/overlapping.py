"""Losses that are ratios of overlap, 0 for a perfect prediction and at most 1.

``1 - (both + s) / (both + errors + s)`` is written as ``errors / (both + errors + s)``, which is
the same and keeps its digits, and its slope, where the errors are small. The errors are squares,
``(p - t)²``: a ratio with products such as ``p·(1 - t)`` in it is not least at ``p = t`` for
truth between 0 and 1, as Wang et al. (2023, "Dice semimetric losses") show, and one with
``|p - t|`` has a kink there, which the exponent of a focal loss turns into a cusp.
"""

from keras import ops

from thorax.training.losses.tensors import Over, Tensor, by_region, in_float32, total

LEAST_COST = 1e-6
"""Keeps the slope of ``cost^γ`` finite at a perfect prediction for γ below 1."""

ABSENT = 1e30
"""Volume that stands for that of an absent region, larger than any; finite, so that no NaN comes
up on the way."""


def dice(truth: Tensor, logits: Tensor, *, smoothing: float, over: Over) -> Tensor:
    """Soft Dice loss.

    ``1 - (2·Σ p·t + s) / (Σ p² + Σ t² + s)``, with squares below as in V-Net (Milletari et al.
    2016), so that it is 0 at ``p = t`` for soft truth too. A region that is not there and that
    the network does not find costs nothing.

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.
        smoothing: ``s``, in pixels.
        over: What the sums go over, the batch or each stack.

    Returns:
        One figure a region, the mean over the stacks if there is one for each, ``(R,)``.
    """
    truth, found = in_float32(truth), ops.sigmoid(in_float32(logits))
    errors, either = _squares(truth, found, over)
    return by_region(errors / (either + smoothing))


def tversky(truth: Tensor, logits: Tensor, *, beta: float, smoothing: float, over: Over) -> Tensor:
    """Tversky loss: Dice with misses and false finds weighed apart.

    ``1 - (TP + s/2) / (TP + β·FN + (1 - β)·FP + s/2)`` with ``TP = Σ p·t`` as in Salehi et al.
    (2017), and squared errors as in the Dice of V-Net: ``FN = Σ max(t - p, 0)²`` and
    ``FP = Σ max(p - t, 0)²``. So it is 0 at ``p = t`` for soft truth too, the loss of Salehi et
    al. wherever prediction and truth are 0 or 1, and `dice` for ``β = 1/2``.

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.
        beta: Weight of what is missed; that of what is wrongly found is ``1 - beta``.
        smoothing: ``s``, in pixels.
        over: What the sums go over, the batch or each stack.

    Returns:
        One figure a region, the mean over the stacks if there is one for each, ``(R,)``.
    """
    return by_region(_tversky(truth, logits, beta, smoothing / 2.0, over))


def focal_tversky(
    truth: Tensor, logits: Tensor, *, beta: float, gamma: float, smoothing: float, over: Over
) -> Tensor:
    """Tversky loss to a power, ``(1 - TI)^γ`` (Abraham and Khan 2019, who write ``γ`` as ``1/γ``).

    An exponent below 1 makes the loss steeper the better a region is found already. It would be
    infinitely steep at a perfect prediction, so the power is ``c·(c + ε)^(γ - 1)`` with
    ``c = 1 - TI`` and ``ε = 1e-6``: 0 where c is 0, with a finite slope, and for larger c the
    same.

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.
        beta: Weight of what is missed; that of what is wrongly found is ``1 - beta``.
        gamma: The exponent; 1 is `tversky`.
        smoothing: ``s``, in pixels.
        over: What the sums go over, the batch or each stack.

    Returns:
        One figure a region, the mean over the stacks if there is one for each, ``(R,)``.
    """
    cost = _tversky(truth, logits, beta, smoothing / 2.0, over)
    return by_region(cost * ops.power(cost + LEAST_COST, gamma - 1.0))


def generalised_dice(
    truth: Tensor, logits: Tensor, *, weights: Tensor, smoothing: float, over: Over
) -> Tensor:
    """One Dice loss over all regions, each weighed by one over the square of its volume.

    ``1 - Σ v·(2·Σ p·t + s) / Σ v·(Σ p² + Σ t² + s)``, where the outer sums go over the regions
    and ``v = w / V²`` with ``V = Σ t`` (Sudre et al. 2017), with squares below so that it is 0 at
    ``p = t`` for soft truth too. One region alone gives `dice`. A region's own weight ``w`` acts
    above and below, as the volume does: it shifts what the one figure is about, and a region that
    weighs nothing is left out. ``1 / V²`` has no bound, so a region of less than ``s`` pixels
    counts as absent and is weighed as the smallest one that is there: its pixels found by
    mistake cost as much as a mistake there, and do not drown the other regions.

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.
        weights: ``w``, one a region, ``(R,)``.
        smoothing: ``s``, in pixels.
        over: What the volumes and sums go over, the batch or each stack.

    Returns:
        A scalar, the mean over the stacks if there is one figure for each.
    """
    truth, found = in_float32(truth), ops.sigmoid(in_float32(logits))
    errors, either = _squares(truth, found, over)
    weights = weights * _by_volume(total(truth, over), smoothing)
    ratios = ops.sum(weights * errors, axis=-1) / ops.sum(weights * (either + smoothing), axis=-1)
    return ops.mean(ratios)


def _tversky(truth: Tensor, logits: Tensor, beta: float, smoothing: float, over: Over) -> Tensor:
    truth, found = in_float32(truth), ops.sigmoid(in_float32(logits))
    missed = total(ops.square(ops.relu(truth - found)), over)
    wrong = total(ops.square(ops.relu(found - truth)), over)
    errors = beta * missed + (1.0 - beta) * wrong
    return errors / (total(truth * found, over) + errors + smoothing)


def _squares(truth: Tensor, found: Tensor, over: Over) -> tuple[Tensor, Tensor]:
    either = total(ops.square(found), over) + total(ops.square(truth), over)
    return total(ops.square(found - truth), over), either


def _by_volume(volumes: Tensor, smoothing: float) -> Tensor:
    """``1 / V²`` of each region, in units of that of the smallest one, so at most 1."""
    present = ops.where(volumes < smoothing, ABSENT, volumes)
    smallest = ops.min(present, axis=-1, keepdims=True)
    return ops.where(volumes < smoothing, 1.0, ops.square(smallest / present))
