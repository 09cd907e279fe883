"""Lovász loss: the Jaccard index of sets, extended to probabilities."""

from keras import ops

from thorax.training.losses.tensors import Over, Tensor, in_float32


def lovasz(truth: Tensor, logits: Tensor, *, smoothing: float, over: Over) -> Tensor:
    """Lovász loss of sigmoid probabilities (Berman et al. 2018), extended to soft truth.

    The errors ``m = |t - p|`` are sorted in descending order and summed, each times the rise of the
    Jaccard loss when its pixel joins the set M of wrong pixels. For predictions and truth of 0 and
    1 this is the Jaccard loss ``1 - |T without M| / |T with M|``.

    For soft truth a pixel of fraction ``t`` counts as ``t`` of a false negative and ``1 - t`` of a
    false positive. The set function ``J`` below is 0 for the empty set, rises with every pixel and
    is submodular. So its Lovász extension is convex in the errors and has its minimum at
    ``p = t``, with a kink and without a slope there. The ``s`` pixels that always count as correct
    spread the slope over more pixels than the worst one if a region is absent.

    Formula:

    ```
    J(M) = 1 - (s + Σ t - Σ_M t) / (s + Σ t + Σ_M (1 - t))
    loss = Σ_i m_i · (J({1..i}) - J({1..i-1})), with m sorted in descending order
    ```

    Args:
        truth: Area fractions ``t``, ``(B, H, W, R)``.
        logits: Logits ``z`` of the same shape; ``p = sigmoid(z)``.
        smoothing: ``s``, in pixels, more than 0.
        over: Pixels that are sorted together, those of the ``batch`` or of each ``stack``.

    Returns:
        One value per region, averaged over the stacks with ``over="stack"``, ``(R,)``.

    Example:
        >>> truth, logits = [[[[1.0], [0.0], [0.0]]]], [[[[-20.0], [-20.0], [-20.0]]]]
        >>> loss = lovasz(truth, logits, smoothing=1.0, over="batch")
        >>> [round(float(value), 4) for value in loss]  # 1 - (1 + 1 - 1) / (1 + 1)
        [0.5]
    """
    truth, predicted = in_float32(truth), ops.sigmoid(in_float32(logits))
    truth, predicted = _in_rows(truth, over), _in_rows(predicted, over)
    errors = ops.abs(truth - predicted)
    order = ops.argsort(-ops.stop_gradient(errors), axis=-1)
    steps = jaccard_steps(ops.take_along_axis(truth, order, axis=-1), smoothing=smoothing)
    costs = ops.sum(ops.take_along_axis(errors, order, axis=-1) * steps, axis=-1)
    return ops.mean(costs, axis=-1)


def jaccard_steps(truth: Tensor, *, smoothing: float) -> Tensor:
    """Return the rise of the Jaccard loss with each further wrong pixel.

    With intersection I and union U before a pixel, the step is ``I / U - (I - t) / (U + 1 - t)``,
    computed as ``(t + (1 - t)·I / U) / (U + 1 - t)``. All terms are positive, so the small steps of
    large maps lose no precision.

    Args:
        truth: Fractions in the order in which the pixels become wrong, ``(..., N)``.
        smoothing: Pixels of truth that are always correct, more than 0.

    Returns:
        Steps of the same shape.

    Example:
        >>> steps = jaccard_steps(ops.array([[1.0, 0.0, 0.0]]), smoothing=1.0)
        >>> [round(float(step), 4) for step in steps[0]]  # 2/2, 1/2, 1/3, 1/4
        [0.5, 0.1667, 0.0833]
    """
    volume = ops.sum(truth, axis=-1, keepdims=True) + smoothing
    background = 1.0 - truth
    union = volume + ops.cumsum(background, axis=-1)
    before = ops.maximum(volume - (ops.cumsum(truth, axis=-1) - truth), smoothing)
    return (truth + background * before / (union - background)) / union


def _in_rows(values: Tensor, over: Over) -> Tensor:
    """Reshape to ``(R, 1, B·H·W)`` for the batch or ``(R, B, H·W)`` for each stack."""
    rows = 1 if over == "batch" else ops.shape(values)[0]
    return ops.reshape(ops.moveaxis(values, -1, 0), (values.shape[-1], rows, -1))
