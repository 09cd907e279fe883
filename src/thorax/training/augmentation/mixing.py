"""Mixing the stacks of a batch with one another, and their fractions likewise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def mixup(batch: Floats, *, share: float) -> Floats:
    """Each element blended with the one before it, the first with the last.

    Source: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018.

    Args:
        batch: Any shape, elements first.
        share: Weight of the element itself.

    Example:
        >>> mixup(np.array([0, 1], np.float32), share=0.75).tolist()
        [0.25, 0.75]
    """
    weight = np.float32(share)
    return weight * batch + (1 - weight) * np.roll(batch, 1, axis=0)


def cutmix(batch: Floats, *, box: tuple[slice, slice]) -> Floats:
    """Each element with a box of the one before it.

    Fractions are mixed pixel by pixel like the planes, so no share of labels is needed.

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
    """How the stacks of a batch are mixed with their neighbours in it.

    Where both are asked for, each batch draws one of them evenly.

    Args:
        mixup: α of the Beta(α, α) that the share of a stack is drawn from, once a batch; 0: not
            at all.
        cutmix: The same for the share of the canvas that a stack keeps.
    """

    mixup: float
    cutmix: float

    def __bool__(self) -> bool:
        """Whether anything is mixed at all."""
        return bool(self.mixup or self.cutmix)

    def __call__(self, stacks: Floats, fractions: Floats, *, seed: int) -> tuple[Floats, Floats]:
        """Mix a batch.

        Args:
            stacks: Shape ``(B, H, W, 2k+1)``; a batch of one stays as it is.
            fractions: Shape ``(B, H, W, R)``.
            seed: The same seed mixes in the same way.
        """
        draw = np.random.default_rng(seed)
        blends = bool(self.mixup) and (not self.cutmix or draw.random() < 0.5)
        alpha = self.mixup if blends else self.cutmix
        share = draw.beta(alpha, alpha)
        if blends:
            return mixup(stacks, share=share), mixup(fractions, share=share)
        box = draw_box(stacks.shape[1], share=1 - share, draw=draw)
        return cutmix(stacks, box=box), cutmix(fractions, box=box)


def draw_box(canvas: int, *, share: float, draw: np.random.Generator) -> tuple[slice, slice]:
    """A square of this share of the canvas, anywhere within it.

    Args:
        canvas: Pixels a side.
        share: 0..1; the side is rounded to whole pixels.
        draw: Where the place comes from.
    """
    side = round(canvas * np.sqrt(share))
    x, y = draw.integers(canvas - side, endpoint=True, size=2)
    return slice(x, x + side), slice(y, y + side)
