"""Start weights from an earlier network: other regions and another number of planes are allowed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops
from numpy.typing import NDArray

from thorax.common.errors import InputError

Weights = NDArray[np.float32]

Plan = Sequence[Weights | None]
"""What the weights of a layer will be, in order; None where they stay as they were drawn."""

LAST = "logits"
"""The layer that has one output channel a region."""

_SHOWN = 4


@dataclass(frozen=True)
class TransferResult:
    """Where the weights of a network come from, by the names of its layers.

    Args:
        copied: Layers that have all their weights from elsewhere, as they were.
        adapted: Layers that have some of them, or in another form.
        fresh: Layers that were left as they were drawn.

    Example:
        >>> print(TransferResult(copied=("a", "b"), adapted=("logits",), fresh=()))
        2 layers copied, 1 adapted (logits), 0 fresh
    """

    copied: tuple[str, ...]
    adapted: tuple[str, ...]
    fresh: tuple[str, ...]

    def __str__(self) -> str:
        return ", ".join(
            (
                f"{len(self.copied)} layers copied",
                f"{len(self.adapted)} adapted{_listed(self.adapted)}",
                f"{len(self.fresh)} fresh{_listed(self.fresh)}",
            )
        )


def transfer_weights(
    network: Any, earlier: Any, *, regions: Sequence[str], earlier_regions: Sequence[str]
) -> TransferResult:
    """Copy the weights of an earlier network into a fresh one, layer by layer, by name.

    Kernels of equal shape are taken as they are, those over the planes of the stack are fitted by
    `align_planes`. The maps of the last layer are matched by the names of their regions; those of
    new regions stay as they were drawn, and so does every layer whose kernel does not fit.

    Args:
        network: A `keras.Model` from `(N, H, W, 2k+1)` stacks; its weights are changed.
        earlier: The one to take weights from; it is not changed.
        regions: Names of the maps of ``network``, in order.
        earlier_regions: The same of ``earlier``.

    Returns:
        Which layers were copied, adapted and left fresh.

    Raises:
        InputError: The first layer does not fit, so that the others could make nothing of what it
            gives; the network is as it was then.
    """
    fit = _Fit(network, earlier, regions=list(regions), earlier_regions=list(earlier_regions))
    layers = [layer for layer in network.layers if layer.weights]
    plans = {layer.name: fit.plan(layer) for layer in layers}
    if plans[layers[0].name][0] is None:
        raise InputError(fit.refusal(layers[0]))
    as_they_were = {name for name, plan in plans.items() if fit.is_copy(name, plan)}
    return assign(network, plans, as_they_were=as_they_were)


def assign(network: Any, plans: Mapping[str, Plan], *, as_they_were: set[str]) -> TransferResult:
    """Give layers the weights that were worked out for them.

    Args:
        network: A `keras.Model`.
        plans: Layer name → values of its weights.
        as_they_were: Names of those whose values are plain copies.

    Returns:
        Which layers were copied, adapted and left fresh.
    """
    kinds: dict[str, list[str]] = {"copied": [], "adapted": [], "fresh": []}
    for layer in network.layers:
        plan = plans.get(layer.name, [None] * len(layer.weights))
        for weight, values in zip(layer.weights, plan, strict=True):
            if values is not None:
                weight.assign(values)
        if layer.weights:
            taken = "copied" if layer.name in as_they_were else "adapted"
            kinds["fresh" if plan[0] is None else taken].append(layer.name)
    return TransferResult(**{kind: tuple(names) for kind, names in kinds.items()})


def align_planes(kernel: Weights, planes: int) -> Weights:
    """Fit a kernel over an odd number of planes to another odd number, middle on middle.

    More planes: the new outer ones begin at 0, so that the response to a stack is the one to its
    inner planes. Fewer planes: those that are gone are added to the outermost ones kept, so that
    the response to planes that are all alike stays.

    Args:
        kernel: Shape ``(h, w, 2k+1, n)``.
        planes: How many planes there are now, 2j+1.

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


class _Fit:
    """Fits the layers of an earlier network to those of another."""

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
        """What the weights of a layer will be; without its kernel, the first, all of it stays."""
        earlier = self._earlier.get(layer.name, {})
        plan = [self._fitted(layer.name, weight, earlier) for weight in layer.weights]
        return plan if plan[0] is not None else [None] * len(plan)

    def is_copy(self, name: str, plan: Plan) -> bool:
        """Whether a plan is the earlier weights, all of them and nothing else."""
        earlier = [*self._earlier.get(name, {}).values()]
        return len(plan) == len(earlier) and all(map(_equal, plan, earlier))

    def refusal(self, first: Any) -> str:
        """Why the first layer does not fit."""
        if first.name not in self._earlier:
            return (
                "start weights must come from a network of the same kind: this one begins with "
                f"layer `{first.name}`, the earlier one with `{next(iter(self._earlier))}`; "
                "set `network.name` as it was"
            )
        kernel = next(iter(self._earlier[first.name].values()))
        return (
            f"start weights must fit the first layer, `{first.name}`: its kernel is "
            f"{_sizes(first.weights[0])} here and {_sizes(kernel)} in the earlier network; "
            "set `network.width` and the rest of `network` as they were"
        )

    def _fitted(self, layer: str, weight: Any, earlier: dict[str, Weights]) -> Weights | None:
        given = earlier.get(weight.name)
        if given is None:
            return None
        if layer == LAST:
            return self._match_regions(ops.convert_to_numpy(weight), given)
        if tuple(weight.shape) == given.shape:
            return given
        return align_planes(given, self._planes) if self._over_stack(weight, given) else None

    def _over_stack(self, kernel: Any, earlier: Weights) -> bool:
        """Whether both are kernels over all planes of their stacks and differ in nothing else."""
        height, width, planes, *rest = kernel.shape if len(kernel.shape) == 4 else (0, 0, 0)
        return planes == self._planes and earlier.shape == (
            height,
            width,
            self._earlier_planes,
            *rest,
        )

    def _match_regions(self, fresh: Weights, earlier: Weights) -> Weights | None:
        """The fresh weights, but with those of the regions that were there already."""
        kept = [name for name in self._regions if name in self._earlier_regions]
        if fresh.shape[:-1] != earlier.shape[:-1] or not kept:
            return None
        matched = fresh.copy()
        here = [self._regions.index(name) for name in kept]
        there = [self._earlier_regions.index(name) for name in kept]
        matched[..., here] = earlier[..., there]
        return matched


def _equal(one: Weights | None, other: Weights) -> bool:
    return one is not None and np.array_equal(one, other)


def _sizes(kernel: Any) -> str:
    """A kernel's shape for people: ``3×3×5→16``."""
    *inwards, outwards = kernel.shape
    return "×".join(map(str, inwards)) + f"→{outwards}"


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:_SHOWN], *(["..."] if len(names) > _SHOWN else [])]
    return f" ({', '.join(shown)})" if names else ""
