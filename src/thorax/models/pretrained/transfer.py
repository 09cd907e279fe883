"""Initial weights from an earlier network, also with other regions or another context."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from thorax.common.errors import InputError

Weights = NDArray[np.float32]

Plan = Sequence[Weights | None]
"""New values of the weights of a layer, in order; None: keep the random ones."""

LOGITS = "logits"
"""Layer with one output channel per region."""

_MAX_NAMES = 4


@dataclass(frozen=True)
class TransferResult:
    """Names of the layers whose weights were transferred, and of the others.

    Args:
        copied: Layers with all weights unchanged from the earlier network.
        adapted: Layers with some of its weights, or with converted ones.
        random: Layers with random weights.

    Example:
        >>> print(TransferResult(copied=("a", "b"), adapted=("logits",), random=()))
        2 layers copied, 1 adapted (logits), 0 random
    """

    copied: tuple[str, ...]
    adapted: tuple[str, ...]
    random: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(
            (
                f"{len(self.copied)} layers copied",
                f"{len(self.adapted)} adapted{_names(self.adapted)}",
                f"{len(self.random)} random{_names(self.random)}",
            )
        )


def transfer_weights(
    network: Any, earlier: Any, *, regions: Sequence[str], earlier_regions: Sequence[str]
) -> TransferResult:
    """Copy weights from an earlier network to a new one, by the names of the layers.

    Kernels of equal shape are copied; kernels over the slices of the stack are adapted by
    `align_planes`. The maps of the last layer are matched by the names of their regions. Maps of
    new regions and layers whose kernels do not fit keep their random weights.

    Args:
        network: A `keras.Model` from `(N, H, W, 2k+1)` stacks; its weights are changed.
        earlier: The network to copy from.
        regions: Names of the maps of ``network``, in order.
        earlier_regions: Names of the maps of ``earlier``, in order.

    Returns:
        The copied, adapted and random layers.

    Raises:
        InputError: The first layer does not fit, so that the others would be useless; the network
            is not changed.
    """
    matcher = _WeightMatcher(
        network, earlier, regions=list(regions), earlier_regions=list(earlier_regions)
    )
    layers = [layer for layer in network.layers if layer.weights]
    plans = {layer.name: matcher.plan(layer) for layer in layers}
    if plans[layers[0].name][0] is None:
        raise InputError(matcher.mismatch(layers[0]))
    unchanged = {name for name, plan in plans.items() if matcher.is_copy(name, plan)}
    return assign_weights(network, plans, unchanged=unchanged)


def assign_weights(
    network: Any, plans: Mapping[str, Plan], *, unchanged: set[str]
) -> TransferResult:
    """Assign new values to the weights of layers.

    Args:
        network: A `keras.Model`.
        plans: Layer name → new values of its weights.
        unchanged: Names of the layers whose values are plain copies.

    Returns:
        The copied, adapted and random layers.
    """
    kinds: dict[str, list[str]] = {"copied": [], "adapted": [], "random": []}
    for layer in network.layers:
        plan = plans.get(layer.name, [None] * len(layer.weights))
        for weight, values in zip(layer.weights, plan, strict=True):
            if values is not None:
                weight.assign(values)
        if layer.weights:
            transferred = "copied" if layer.name in unchanged else "adapted"
            kinds["random" if plan[0] is None else transferred].append(layer.name)
    return TransferResult(**{kind: tuple(names) for kind, names in kinds.items()})


def align_planes(kernel: Weights, planes: int) -> Weights:
    """Adapt a kernel to another odd number of slices, aligned at the centre slice.

    With more slices the new outer ones begin at 0, so that only the inner slices count. With fewer
    slices the removed ones are added to the outermost ones that are left, so that the response
    to equal slices does not change.

    Args:
        kernel: Shape ``(h, w, 2k+1, n)``.
        planes: The new number of slices, 2j+1.

    Returns:
        Shape ``(h, w, 2j+1, n)``.

    Example:
        >>> kernel = np.array([1, 2, 4], np.float32).reshape(1, 1, 3, 1)
        >>> align_planes(kernel, 5).ravel().tolist()
        [0.0, 1.0, 2.0, 4.0, 0.0]
        >>> align_planes(kernel, 1).ravel().tolist()
        [7.0]
    """
    more = (planes - kernel.shape[2]) // 2
    if more >= 0:
        return np.pad(kernel, ((0, 0), (0, 0), (more, more), (0, 0)))
    kept = kernel[:, :, -more:more].copy()
    kept[:, :, 0] += kernel[:, :, :-more].sum(axis=2)
    kept[:, :, -1] += kernel[:, :, more:].sum(axis=2)
    return kept


class _WeightMatcher:
    """Matches the layers of an earlier network with those of a new one."""

    def __init__(
        self, network: Any, earlier: Any, *, regions: list[str], earlier_regions: list[str]
    ) -> None:
        self._planes = network.input_shape[-1]
        self._earlier_planes = earlier.input_shape[-1]
        self._regions, self._earlier_regions = regions, earlier_regions
        self._earlier = {
            layer.name: {weight.name: ops.convert_to_numpy(weight) for weight in layer.weights}
            for layer in earlier.layers
            if layer.weights
        }

    def plan(self, layer: Any) -> Plan:
        """Return the new weights of a layer: all random unless its kernel, the first, fits."""
        earlier = self._earlier.get(layer.name, {})
        plan = [self._fitted(layer.name, weight, earlier) for weight in layer.weights]
        return plan if plan[0] is not None else [None] * len(plan)

    def is_copy(self, name: str, plan: Plan) -> bool:
        """Return True if a plan consists of all earlier weights of the layer, unchanged."""
        earlier = [*self._earlier.get(name, {}).values()]
        return len(plan) == len(earlier) and all(map(_equal, plan, earlier))

    def mismatch(self, first: Any) -> str:
        """Return the error message for a first layer that does not fit."""
        if first.name not in self._earlier:
            return (
                "initial weights must come from the same kind of network, but this one begins with "
                f"layer `{first.name}` and the earlier one with `{next(iter(self._earlier))}`; "
                "set `network.name` to that of the earlier network"
            )
        kernel = next(iter(self._earlier[first.name].values()))
        return (
            f"initial weights must fit the first layer `{first.name}`, whose kernel is "
            f"{_sizes(first.weights[0])} here and {_sizes(kernel)} in the earlier network; "
            "set `network.width` and the rest of `network` to those of the earlier network"
        )

    def _fitted(self, layer: str, weight: Any, earlier: dict[str, Weights]) -> Weights | None:
        values = earlier.get(weight.name)
        if values is None:
            return None
        if layer == LOGITS:
            return self._match_regions(ops.convert_to_numpy(weight), values)
        if tuple(weight.shape) == values.shape:
            return values
        return align_planes(values, self._planes) if self._over_stack(weight, values) else None

    def _over_stack(self, kernel: Any, earlier: Weights) -> bool:
        """Return True if two kernels differ in the number of slices of their stacks only."""
        height, width, planes, *rest = kernel.shape if len(kernel.shape) == 4 else (0, 0, 0)
        return planes == self._planes and earlier.shape == (
            height,
            width,
            self._earlier_planes,
            *rest,
        )

    def _match_regions(self, random: Weights, earlier: Weights) -> Weights | None:
        """Replace the maps of regions that the earlier network has, too."""
        common = [name for name in self._regions if name in self._earlier_regions]
        if random.shape[:-1] != earlier.shape[:-1] or not common:
            return None
        matched = random.copy()
        here = [self._regions.index(name) for name in common]
        there = [self._earlier_regions.index(name) for name in common]
        matched[..., here] = earlier[..., there]
        return matched


def _equal(values: Weights | None, earlier: Weights) -> bool:
    return values is not None and np.array_equal(values, earlier)


def _sizes(kernel: Any) -> str:
    """Return the shape of a kernel as text: ``3×3×5→16``."""
    *inwards, outwards = kernel.shape
    return "×".join(map(str, inwards)) + f"→{outwards}"


def _names(names: Sequence[str]) -> str:
    first = [*names[:_MAX_NAMES], *(["..."] if len(names) > _MAX_NAMES else [])]
    return f" ({', '.join(first)})" if names else ""
