"""Losses as functions of truth and logits, and one Keras class that combines them.

Shapes and symbols: truth `t` is the area fraction of each region, 0..1, and logits `z` are the
output of the network, both ``(B, H, W, R)``; `p = sigmoid(z)`. Truth is soft in pixels on the
border of a region, so every loss has its minimum at ``p = t`` and rounds nothing. Losses are
computed in float32 at any precision of the network: in float16 the sums of a Dice loss exceed
65,504 and small probabilities vanish.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from thorax.common.errors import InputError
from thorax.common.params import LossName, LossParams
from thorax.training.losses.lovasz import lovasz
from thorax.training.losses.overlapping import dice, focal_tversky, generalised_dice, tversky
from thorax.training.losses.pixelwise import bce, focal
from thorax.training.losses.tensors import Tensor

__all__ = [
    "SegmentationLoss",
    "bce",
    "dice",
    "focal",
    "focal_tversky",
    "generalised_dice",
    "lovasz",
    "tversky",
]

Part = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Function from truth, logits and one weight per region to a scalar."""

COMBINED_LOSSES: dict[LossName, tuple[LossName, ...]] = {
    "bce_dice": ("bce", "dice"),
    "focal_dice": ("focal", "dice"),
}


class SegmentationLoss(keras.losses.Loss):  # type: ignore[misc]
    """Loss by name for `keras.Model.compile`: a weighted sum of parts.

    Each part is a weighted mean over the regions. The weights of the regions are scaled to a mean
    of 1, so that only their ratios count; those of the parts are not scaled.

    Formula:

    ```
    loss = Σ_parts a · mean_regions(w · part), with mean(w) = 1
    ```

    Args:
        name: One of `thorax.common.params.LossName`; ``bce_dice`` and ``focal_dice`` have two
            parts.
        params: Settings of the parts, and the weights ``a`` and ``w``.
        regions: Names of the regions in the order of the network's channels.

    Raises:
        InputError: The number of weights is not that of the parts, a weight is for an unknown
            region, or all weights are 0.

    Example:
        >>> params = LossParams(
        ...     part_weights=[], region_weights={"infection": 3.0}, bce_alpha=0.5,
        ...     focal_alpha=0.5, focal_gamma=2.0, dice_over="batch", dice_smoothing=1.0,
        ...     tversky_beta=0.7, tversky_gamma=0.75, deep_supervision=0.0,
        ... )
        >>> loss = SegmentationLoss("bce", params, regions=["lung", "infection"])
        >>> uncertain_lung, uncertain_infection = [[[[0.0, 20.0]]]], [[[[20.0, 0.0]]]]
        >>> round(float(loss([[[[1.0, 1.0]]]], uncertain_lung)), 4)
        0.1733
        >>> round(float(loss([[[[1.0, 1.0]]]], uncertain_infection)), 4)
        0.5199
    """

    def __init__(self, name: LossName, params: LossParams, *, regions: Sequence[str]) -> None:
        super().__init__(name=name, dtype="float32")
        names = COMBINED_LOSSES.get(name, (name,))
        parts = _parts(params)
        self._parts = [parts[part] for part in names]
        self._part_weights = _weigh_parts(params.part_weights, names)
        self._region_weights = _weigh_regions(params.region_weights, regions)

    def call(self, y_true: Tensor, y_pred: Tensor) -> Tensor:
        """Return the weighted sum of the parts, shape ``(1,)``.

        The result is not a scalar, because Keras sums the gradients of several GPUs. It divides a
        loss by their number only when it reduces the loss, which it does not do for a scalar.
        """
        costs = (part(y_true, y_pred, self._region_weights) for part in self._parts)
        weighted = zip(self._part_weights, costs, strict=True)
        return ops.reshape(sum(weight * cost for weight, cost in weighted), (1,))


def _parts(params: LossParams) -> dict[LossName, Part]:
    ratio: dict[str, Any] = {"smoothing": params.dice_smoothing, "over": params.dice_over}
    weighted = ratio | {"beta": params.tversky_beta}
    return {
        "bce": _mean_over_regions(bce, alpha=params.bce_alpha),
        "focal": _mean_over_regions(focal, alpha=params.focal_alpha, gamma=params.focal_gamma),
        "dice": _mean_over_regions(dice, **ratio),
        "tversky": _mean_over_regions(tversky, **weighted),
        "focal_tversky": _mean_over_regions(focal_tversky, gamma=params.tversky_gamma, **weighted),
        "lovasz": _mean_over_regions(lovasz, **ratio),
        "generalised_dice": lambda t, z, w: generalised_dice(t, z, weights=w, **ratio),
    }


def _mean_over_regions(loss: Callable[..., Tensor], **settings: Any) -> Part:
    return lambda truth, logits, weights: ops.mean(weights * loss(truth, logits, **settings))


def _weigh_parts(weights: Sequence[float], names: Sequence[LossName]) -> Sequence[float]:
    if weights and len(weights) != len(names):
        raise InputError(
            f"`losses.part_weights` must have one weight per part ({', '.join(names)}), got "
            f"{len(weights)}"
        )
    if weights and not any(weights):
        raise InputError(f"`losses.part_weights` must not all be 0, got {list(weights)}")
    return weights or [1.0] * len(names)


def _weigh_regions(weights: Mapping[str, float], regions: Sequence[str]) -> NDArray[np.float32]:
    unknown = [name for name in weights if name not in regions]
    if unknown:
        raise InputError(
            f"`losses.region_weights` must only name regions of the dataset "
            f"({', '.join(regions)}), got {', '.join(unknown)}"
        )
    ordered = np.array([weights.get(name, 1.0) for name in regions], np.float32)
    if not ordered.any():
        raise InputError(f"`losses.region_weights` must not all be 0, got {dict(weights)}")
    return ordered / ordered.mean()
