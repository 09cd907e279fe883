"""What a figure is where a mask is empty, and what means make of it.

No rule is right: a scan without the disease, rightly left blank, is a perfect answer to one reader
and no question at all to the next. So the rule has a name, which is reported with the figures, and
the rules of other tools are at hand, so that figures can be set beside theirs. Each entry is what
the row of the case shows: with the truth alone empty / the prediction alone / both. ``–`` is
undefined (NaN), which means leave out; behind an arrow stands what goes into means in its place.

| figure | thorax | nnunet | surface-distance | metrics-reloaded |
|---|---|---|---|---|
| dice | 0 / 0 / – | 0 / 0 / – | 0 / 0 / – | 0 / 0 / 1 |
| iou | 0 / 0 / – | 0 / 0 / – | 0 / 0 / – | 0 / 0 / – → 1 |
| sensitivity | – / 0 / – | – / 0 / – | – / 0 / – | – / 0 / – |
| precision | 0 / – / – | 0 / – / – | 0 / – / – | 0 / 0 / – |
| nsd | 0 / 0 / – | – / – / – | 0 / 0 / – | – → 0 / – → 0 / 1 |
| hd95_mm | ∞ → – / ∞ → – / – | – / – / – | ∞ / ∞ / ∞ | – → D / – → D / 0 |
| mean_distance_mm | ∞ → – / ∞ → – / – | – / – / – | ∞ / ∞ / – | – → D / – → D / 0 |
| lesion_sensitivity | – / 0 / – | – / 0 / – | – / 0 / – | 1 / 0 / 1 |
| lesion_precision | 0 / – / – | 0 / – / – | 0 / – / – | 0 / 0 / 1 |
| lesion_f1 | 0 / 0 / – | 0 / 0 / – | 0 / 0 / – | 0 / 0 / 1 |

D is the diagonal of the scan in mm, the worst that a distance could be.

* ``thorax``: what cannot be had is not made up. An infinite distance is shown in the row but left
  out of means, which it would make infinite: `AppliedMetrics.left_out` names it, for it to be counted.
* ``nnunet``: overlaps as nnU-Net 2 evaluates a folder, with NaN left out of means. It gives no
  distances; the evaluator of its first version took NaN for them. Surface Dice follows these.
* ``surface-distance``: as DeepMind's package. It has no means: an infinite distance stays in and
  makes the mean infinite.
* ``metrics-reloaded``: as MetricsReloaded, which puts the best or the worst value into means where
  a figure is undefined. Its lesion sensitivity is 1 without lesions, whatever was predicted.

What a tool has no figure for is as in ``thorax``. What these rules do not name, as volumes, stays
as it is; so does every figure where neither mask is empty.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from thorax.common.errors import InputError

Figures = dict[str, float]


class MetricRule(NamedTuple):
    """What a figure is in one kind of emptiness.

    Args:
        shown: In the row of the case.
        counted: In means; NaN is left out, ``diagonal`` stands for that of the scan in mm.
    """

    shown: float
    counted: float | Literal["diagonal"]


class Entries(NamedTuple):
    """What a figure is where masks are empty.

    Args:
        truth: The truth is empty, the prediction is not.
        predicted: The prediction is empty, the truth is not.
        both: Both are.
    """

    truth: MetricRule
    predicted: MetricRule
    both: MetricRule


@dataclass(frozen=True)
class AppliedMetrics:
    """A row of figures after a rule was applied to it.

    Args:
        shown: What the row of the case shows.
        counted: What goes into means; NaN is left out.
    """

    shown: Figures
    counted: Figures

    @property
    def left_out(self) -> tuple[str, ...]:
        """Figures that are infinite in the row and are left out of means."""
        return tuple(
            name
            for name, value in self.shown.items()
            if math.isinf(value) and math.isnan(self.counted[name])
        )


@dataclass(frozen=True)
class EmptyMaskConvention:
    """What figures are for empty masks, by the convention of one tool.

    Args:
        name: Name of the convention.
        entries: What each figure is.
    """

    name: str
    entries: Mapping[str, Entries]

    def apply(
        self,
        figures: Mapping[str, float],
        *,
        truth_empty: bool,
        predicted_empty: bool,
        diagonal_mm: float,
    ) -> AppliedMetrics:
        """Apply the rule to the figures of one region of one case.

        Args:
            figures: Name of a figure → value. None of those that the rule names is looked at if a
                mask is empty, so they may be anything.
            truth_empty: Whether the truth has no voxel.
            predicted_empty: Whether the prediction has none.
            diagonal_mm: Length of the diagonal of the scan.

        Example:
            >>> row = {"dice": 0.0, "hd95_mm": math.inf, "truth_ml": 12.5}
            >>> empty = {"truth_empty": False, "predicted_empty": True, "diagonal_mm": 500.0}
            >>> find_convention("thorax").apply(row, **empty)  # doctest: +NORMALIZE_WHITESPACE
            Applied(shown={'dice': 0.0, 'hd95_mm': inf, 'truth_ml': 12.5},
                    counted={'dice': 0.0, 'hd95_mm': nan, 'truth_ml': 12.5})
            >>> find_convention("metrics-reloaded").apply(row, **empty).counted
            {'dice': 0.0, 'hd95_mm': 500.0, 'truth_ml': 12.5}
        """
        if not truth_empty and not predicted_empty:
            return AppliedMetrics(dict(figures), dict(figures))
        kind = (
            "both" if truth_empty and predicted_empty else "truth" if truth_empty else "predicted"
        )
        named = {
            name: getattr(self.entries[name], kind) for name in figures if name in self.entries
        }
        shown = {name: entry.shown for name, entry in named.items()}
        counted = {
            name: diagonal_mm if entry.counted == "diagonal" else entry.counted
            for name, entry in named.items()
        }
        return AppliedMetrics({**figures, **shown}, {**figures, **counted})


def find_convention(name: str) -> EmptyMaskConvention:
    """The rules of a convention.

    Args:
        name: ``thorax``, ``nnunet``, ``surface-distance`` or ``metrics-reloaded``.

    Raises:
        InputError: There is no convention of that name.
    """
    if name not in _CONVENTIONS:
        raise InputError(
            f"the convention for empty masks must be one of {', '.join(_CONVENTIONS)}, got "
            f"{name!r}; see evaluate.convention in params.yaml"
        )
    return EmptyMaskConvention(name, _CONVENTIONS[name])


def _same(truth: float, predicted: float, both: float) -> Entries:
    """Entries of which means take what the row shows."""
    return Entries(*(MetricRule(value, value) for value in (truth, predicted, both)))


_NAN, _INF = math.nan, math.inf

_UNDEFINED = MetricRule(_NAN, _NAN)

_APART = MetricRule(_INF, _NAN)

_WORST = MetricRule(_NAN, "diagonal")

_NO_SURFACE = MetricRule(_NAN, 0.0)

_THORAX = {
    "dice": _same(0.0, 0.0, _NAN),
    "iou": _same(0.0, 0.0, _NAN),
    "sensitivity": _same(_NAN, 0.0, _NAN),
    "precision": _same(0.0, _NAN, _NAN),
    "nsd": _same(0.0, 0.0, _NAN),
    "hd95_mm": Entries(_APART, _APART, _UNDEFINED),
    "mean_distance_mm": Entries(_APART, _APART, _UNDEFINED),
    "lesion_sensitivity": _same(_NAN, 0.0, _NAN),
    "lesion_precision": _same(0.0, _NAN, _NAN),
    "lesion_f1": _same(0.0, 0.0, _NAN),
}

_NNUNET = _THORAX | dict.fromkeys(("nsd", "hd95_mm", "mean_distance_mm"), _same(_NAN, _NAN, _NAN))

_SURFACE_DISTANCE = _THORAX | {
    "hd95_mm": _same(_INF, _INF, _INF),
    "mean_distance_mm": _same(_INF, _INF, _NAN),
}

_METRICS_RELOADED = _THORAX | {
    "dice": _same(0.0, 0.0, 1.0),
    "iou": Entries(MetricRule(0.0, 0.0), MetricRule(0.0, 0.0), MetricRule(_NAN, 1.0)),
    "precision": _same(0.0, 0.0, _NAN),
    "nsd": Entries(_NO_SURFACE, _NO_SURFACE, MetricRule(1.0, 1.0)),
    "hd95_mm": Entries(_WORST, _WORST, MetricRule(0.0, 0.0)),
    "mean_distance_mm": Entries(_WORST, _WORST, MetricRule(0.0, 0.0)),
    "lesion_sensitivity": _same(1.0, 0.0, 1.0),
    "lesion_precision": _same(0.0, 0.0, 1.0),
    "lesion_f1": _same(0.0, 0.0, 1.0),
}

_CONVENTIONS: Mapping[str, Mapping[str, Entries]] = {
    "thorax": _THORAX,
    "nnunet": _NNUNET,
    "surface-distance": _SURFACE_DISTANCE,
    "metrics-reloaded": _METRICS_RELOADED,
}
