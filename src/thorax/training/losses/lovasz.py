"""The Lovász loss: the Jaccard index, which is defined for sets, made good for probabilities."""

from keras import ops

from thorax.training.losses.tensors import Over, Tensor, in_float32


def lovasz(truth: Tensor, logits: Tensor, *, smoothing: float, over: Over) -> Tensor:
    """Lovász loss of sigmoid probabilities (Berman et al. 2018), for soft truth too.

    The errors ``m = |t - p|`` are sorted from large to small and added up, each times the step
    by which the Jaccard loss rises when its pixel joins the set of wrong ones. For a set M of
    wrong pixels, and truth of 0 and 1, that loss is ``1 - |T without M| / |T with M|``, so
    that for predictions of 0 and 1 this is the Jaccard loss itself.

    Berman et al. define it for sets. Here truth is soft, and nothing is rounded: a pixel of
    fraction t counts as t of a pixel to miss and 1 - t of one to find by mistake, so
    ``1 - (s + Σ t - Σ_M t) / (s + Σ t + Σ_M (1 - t))``. This set function is 0 for the empty set,
    rises with every pixel and stays submodular, so its Lovász extension is convex in the errors
    and 0 where all of them are: the loss is least at ``p = t``. It has a kink there, with no
    slope at ``p = t`` itself. The ``s`` pixels that are always found spread the slope over more
    than the one worst pixel where a region is absent.

    Args:
        truth: Area fractions, ``(B, H, W, R)``.
        logits: Of the same shape.
        smoothing: ``s``, in pixels, more than 0.
        over: What is sorted together, the batch or each stack.

    Returns:
        One figure a region, the mean over the stacks if there is one for each, ``(R,)``.
    """
    truth, found = in_float32(truth), ops.sigmoid(in_float32(logits))
    truth, found = _in_rows(truth, over), _in_rows(found, over)
    errors = ops.abs(truth - found)
    order = ops.argsort(-ops.stop_gradient(errors), axis=-1)
    steps = jaccard_steps(ops.take_along_axis(truth, order, axis=-1), smoothing=smoothing)
    costs = ops.sum(ops.take_along_axis(errors, order, axis=-1) * steps, axis=-1)
    return ops.mean(costs, axis=-1)


def jaccard_steps(truth: Tensor, *, smoothing: float) -> Tensor:
    """By how much the Jaccard loss rises as one pixel after the other goes wrong.

    With intersection I and union U before a pixel goes wrong, the step is
    ``I / U - (I - t) / (U + 1 - t)``, written as ``(t + (1 - t)·I / U) / (U + 1 - t)``: all terms
    are positive, so that the small steps of large maps keep their digits.

    Args:
        truth: Fractions in the order in which they go wrong, ``(..., N)``.
        smoothing: Pixels of truth that never go wrong, more than 0.

    Returns:
        Steps, of the same shape.

    Example:
        >>> steps = jaccard_steps(ops.array([[1.0, 0.0, 0.0]]), smoothing=1.0)
        >>> [round(float(step), 4) for step in steps[0]]  # 2/2, 1/2, 1/3, 1/4
        [0.5, 0.1667, 0.0833]
    """
    whole = ops.sum(truth, axis=-1, keepdims=True) + smoothing
    background = 1.0 - truth
    union = whole + ops.cumsum(background, axis=-1)
    before = ops.maximum(whole - (ops.cumsum(truth, axis=-1) - truth), smoothing)
    return (truth + background * before / (union - background)) / union


def _in_rows(values: Tensor, over: Over) -> Tensor:
    """``(R, 1, B·H·W)`` over the batch, ``(R, B, H·W)`` over each stack."""
    figures = 1 if over == "batch" else ops.shape(values)[0]
    return ops.reshape(ops.moveaxis(values, -1, 0), (values.shape[-1], figures, -1))
