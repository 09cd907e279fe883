"""Augmentation of batches with the operations of Keras, on the device of its backend.

The transforms and their order are those of `thorax.training.augmentation.Augmentation`, the
reference; values differ by the rounding of OpenCV, which interpolates at multiples of 1/32 pixel.
"""

from typing import Any

from keras import ops

from thorax.training.augmentation.ct import EDGE_PIXELS

_TRUNCATION = 3.5
"""Half width of the kernel of a blur in standard deviations, rounded down; as in albumentations."""

_EDGE_REACH = round(4 * EDGE_PIXELS)
"""Half width of the kernel for sharpening, in pixels; as in OpenCV for float32."""

Tensor = Any


def augment(
    stacks: Tensor, fractions: Tensor, draws: dict[str, Tensor], noise: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Transform a batch.

    Args:
        stacks: Windowed slices, 0..1, shape ``(B, H, W, C)``.
        fractions: Area fractions, 0..1, shape ``(B, H, W, R)``.
        draws: As `thorax.training.augmentation.draws.draw_batch` returns them.
        noise: Standard normal values of the shape of ``stacks``, if noise was drawn.

    Returns:
        Stacks and fractions of the same shapes, 0..1.
    """
    if "matrix" in draws:
        stacks, fractions = _warped(stacks, fractions, draws["matrix"])
    if "planes" in draws:
        stacks = ops.take_along_axis(stacks, draws["planes"][:, None, None], axis=-1)
    stacks = _with_intensities(_resampled(stacks, draws), draws, noise)
    if "inside" in draws:
        inside = _inside(draws["inside"], stacks.shape[1])
        stacks, fractions = stacks * inside, fractions * inside
    stacks, fractions = ops.clip(stacks, 0.0, 1.0), ops.clip(fractions, 0.0, 1.0)
    if "weights" in draws:
        weights = ops.cast(draws["weights"], "float32")[..., None]
        stacks, fractions = _mixed(stacks, weights), _mixed(fractions, weights)
    return stacks, fractions


def blur_matrices(sigma: Tensor, *, canvas: int, reach: Tensor | None = None) -> Tensor:
    """Return matrices that blur columns of pixels, mirrored at the border pixels.

    Args:
        sigma: Standard deviations in pixels, shape ``(B,)``; 0: no blur.
        canvas: Length of the columns.
        reach: Half widths of the kernels in pixels, shape ``(B,)``, less than the canvas; by
            default `_TRUNCATION` standard deviations.

    Returns:
        Shape ``(B, H, H)``.
    """
    sigma = ops.cast(sigma, "float32")[:, None, None]
    reach = ops.floor(_TRUNCATION * sigma) if reach is None else reach[:, None, None]

    def weight(distance: Tensor) -> Tensor:
        value = ops.exp(-0.5 * ops.square(distance / ops.maximum(sigma, 1e-6)))
        return ops.where(ops.abs(distance) <= reach, value, 0.0)

    target, source = _positions(canvas)
    last = canvas - 1
    below = ops.where(source > 0, weight(target + source), 0.0)
    above = ops.where(source < last, weight(2 * last - target - source), 0.0)
    weights = weight(target - source) + below + above
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def low_resolution_matrices(kept: Tensor, *, canvas: int) -> Tensor:
    """Return matrices that downsample columns of pixels by area, and upsample them linearly.

    Args:
        kept: Shares of the pixels per side, shape ``(B,)``; 1: no change.
        canvas: Length of the columns.

    Returns:
        Shape ``(B, H, H)``.
    """
    size = ops.maximum(1.0, ops.round(ops.cast(kept, "float32") * canvas))[:, None, None]
    step = canvas / size
    target, source = _positions(canvas)
    shared = ops.minimum((target + 1) * step, source + 1) - ops.maximum(target * step, source)
    areas = ops.where(target < size, ops.maximum(shared, 0.0), 0.0) / step
    position = ops.clip((target + 0.5) / step - 0.5, 0.0, size - 1)
    return ops.matmul(ops.maximum(1 - ops.abs(position - source), 0.0), areas)


def _positions(canvas: int) -> tuple[Tensor, Tensor]:
    """Return the positions of the rows and of the columns of a matrix, for broadcasting."""
    positions = ops.arange(canvas, dtype="float32")
    return positions[None, :, None], positions[None, None, :]


def _warped(stacks: Tensor, fractions: Tensor, matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Interpolate linearly; beyond the border there is air and no region."""
    both = ops.image.affine_transform(
        ops.concatenate([stacks, fractions], axis=-1),
        ops.cast(matrices, "float32"),
        interpolation="bilinear",
        fill_mode="constant",
        fill_value=0.0,
        data_format="channels_last",
    )
    slices = stacks.shape[-1]
    return both[..., :slices], both[..., slices:]


def _resampled(stacks: Tensor, draws: dict[str, Tensor]) -> Tensor:
    """Apply low resolution, blur and sharpening, each a matrix for rows and for columns."""
    canvas = stacks.shape[1]
    if "kept" in draws:
        stacks = _both_axes(low_resolution_matrices(draws["kept"], canvas=canvas), stacks)
    if "sigma" in draws:
        stacks = _both_axes(blur_matrices(draws["sigma"], canvas=canvas), stacks)
    if "sharpening" in draws:
        added = _per_stack(draws["sharpening"])
        one = ops.ones(1)
        kernel = blur_matrices(EDGE_PIXELS * one, canvas=canvas, reach=_EDGE_REACH * one)
        edges = stacks - _both_axes(kernel, stacks)
        stacks = ops.clip(stacks + added * edges, 0.0, 1.0)
    return stacks


def _both_axes(matrices: Tensor, stacks: Tensor) -> Tensor:
    """Multiply the columns and the rows of each slice by a matrix."""
    batch, canvas, _, slices = stacks.shape
    rows = ops.matmul(matrices, ops.reshape(stacks, (batch, canvas, canvas * slices)))
    return ops.matmul(matrices[:, None], ops.reshape(rows, stacks.shape))


def _with_intensities(stacks: Tensor, draws: dict[str, Tensor], noise: Tensor | None) -> Tensor:
    if "contrast" in draws:
        factor, offset = _per_stack(draws["contrast"]), _per_stack(draws["brightness"])
        stacks = ops.clip(stacks * factor + offset, 0.0, 1.0)
    if "gamma" in draws:
        # Not of exactly 0, whose logarithm some backends take for the power.
        stacks = ops.power(ops.clip(stacks, 1e-12, 1.0), _per_stack(draws["gamma"]))
    if "noise" in draws:
        stacks = ops.clip(stacks + _per_stack(draws["noise"]) * noise, 0.0, 1.0)
    return stacks


def _per_stack(values: Tensor) -> Tensor:
    return ops.cast(values, "float32")[:, None, None, None]


def _inside(limits: Tensor, canvas: int) -> Tensor:
    """Return 1 within the first and last rows and columns, and 0 elsewhere."""
    positions = ops.arange(canvas)
    rows, columns = (
        (positions >= limits[:, first, None]) & (positions <= limits[:, first + 1, None])
        for first in (0, 2)
    )
    return ops.cast(rows[:, :, None, None] & columns[:, None, :, None], "float32")


def _mixed(batch: Tensor, weights: Tensor) -> Tensor:
    """Mix each element with the one before it, the first with the last."""
    return weights * batch + (1 - weights) * ops.roll(batch, 1, axis=0)
