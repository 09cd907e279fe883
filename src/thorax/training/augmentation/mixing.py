"""Mixup and CutMix: mix the stacks of a batch and their fractions with each other."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def mixup(batch: Floats, *, share: float) -> Floats:
    """Blend each element with the one before it, the first with the last.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.

    Args:
        batch: Any shape, elements first.
        share: Weight of the element; the other one has the rest.

    Example:
        >>> mixup(np.array([0, 1], np.float32), share=0.75).tolist()
        [0.25, 0.75]
    """
    weight = np.float32(share)
    return weight * batch + (1 - weight) * np.roll(batch, 1, axis=0)


def cutmix(batch: Floats, *, box: tuple[slice, slice]) -> Floats:
    """Replace a box of each element by that of the one before it; the first by that of the last.

    Fractions are mixed pixel by pixel like the slices, so no share of labels is needed.

    Source: Yun et al., CutMix: Regularization Strategy to Train Strong Classifiers with
    Localizable Features, ICCV 2019.

    Args:
        batch: Shape ``(B, H, W, C)``.
        box: Rows and columns.
    """
    mixed = batch.copy()
    mixed[:, *box] = np.roll(batch, 1, axis=0)[:, *box]
    return mixed


@dataclass(frozen=True)
class Mixing:
    """Mixes the stacks of a batch with mixup or CutMix.

    If both are on, each batch draws one of them with equal chance.

    Args:
        mixup: α of the Beta(α, α) distribution of a stack's weight, drawn once per batch; 0: off.
        cutmix: The same for the share of the canvas that a stack keeps.
    """

    mixup: float
    cutmix: float

    def __bool__(self) -> bool:
        """True if mixup or CutMix is on."""
        return bool(self.mixup or self.cutmix)

    def __call__(self, stacks: Floats, fractions: Floats, *, seed: int) -> tuple[Floats, Floats]:
        """Mix a batch.

        Args:
            stacks: Shape ``(B, H, W, 2k+1)``; a batch of one does not change.
            fractions: Shape ``(B, H, W, R)``.
            seed: Seed of the random draws.
        """
        generator = np.random.default_rng(seed)
        uses_mixup, share = self._draw(generator)
        if uses_mixup:
            return mixup(stacks, share=share), mixup(fractions, share=share)
        box = draw_box(stacks.shape[1], share=1 - share, generator=generator)
        return cutmix(stacks, box=box), cutmix(fractions, box=box)

    def draw_weights(self, canvas: int, generator: np.random.Generator) -> Floats:
        """Draw the weight of each pixel of a stack; that of the stack before it is the rest.

        Args:
            canvas: Side of the canvas, in pixels.
            generator: Source of the draws, in the order of a call.

        Returns:
            Shape ``(H, W)``: one share for mixup; for CutMix 0 in a box and 1 elsewhere.
        """
        uses_mixup, share = self._draw(generator)
        weights = np.full((canvas, canvas), share if uses_mixup else 1.0, np.float32)
        if not uses_mixup:
            weights[draw_box(canvas, share=1 - share, generator=generator)] = 0.0
        return weights

    def _draw(self, generator: np.random.Generator) -> tuple[bool, float]:
        """Draw whether this is mixup, and the share of a stack."""
        uses_mixup = bool(self.mixup) and (not self.cutmix or generator.random() < 0.5)
        alpha = self.mixup if uses_mixup else self.cutmix
        return uses_mixup, generator.beta(alpha, alpha)


def draw_box(canvas: int, *, share: float, generator: np.random.Generator) -> tuple[slice, slice]:
    """Draw a square anywhere on the canvas.

    Args:
        canvas: Side of the canvas, in pixels.
        share: Area of the square, as a share of the canvas; its side is rounded to whole pixels.
        generator: Source of the position.

    Returns:
        Rows and columns.
    """
    side = round(canvas * np.sqrt(share))
    x, y = generator.integers(canvas - side, endpoint=True, size=2)
    return slice(x, x + side), slice(y, y + side)
