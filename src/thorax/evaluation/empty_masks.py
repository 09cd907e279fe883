"""Values of metrics for empty masks, and how they enter means.

No rule is right for everyone: an empty prediction for a scan without disease is a perfect result to
one reader and undefined to another. So each convention has a name, which is reported with the
metrics, and the conventions of other tools are available for comparison with their results. An
entry gives the value reported for the case if only the truth is empty / only the prediction is
empty / both are empty. ``–`` is undefined (NaN) and is left out of means. After an arrow: the value
used in the mean.

| metric | thorax | nnunet | surface-distance | metrics-reloaded |
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

D is the diagonal of the scan in mm, the largest possible distance.

* ``thorax``: undefined values are not replaced. An infinite distance is reported for the case but
  left out of means, which would become infinite. `AppliedMetrics.left_out` lists these metrics, so
  that they can be counted.
* ``nnunet``: overlaps as in the folder evaluation of nnU-Net 2, with NaN left out of means. It has
  no distances; its first version used NaN for them. Surface Dice follows the same rule.
* ``surface-distance``: as in DeepMind's package. It computes no means: here an infinite distance
  makes the mean infinite.
* ``metrics-reloaded``: as in MetricsReloaded, which replaces undefined values by the best or the
  worst one in means. Its lesion sensitivity is 1 without lesions, whatever was predicted.

A metric that a tool does not have follows ``thorax``. Metrics that are not listed here, such as
volumes, keep their values; so do all metrics if neither mask is empty.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from thorax.common.errors import InputError

Metrics = dict[str, float]


class MetricRule(NamedTuple):
    """Value of a metric for one kind of empty masks.

    Args:
        reported: Value in the row of the case.
        averaged: Value that enters means; NaN is left out, ``diagonal`` is the diagonal of the
            scan in mm.
    """

    reported: float
    averaged: float | Literal["diagonal"]


class MetricRules(NamedTuple):
    """Rules of one metric, by the mask that is empty.

    Args:
        truth: Only the truth is empty.
        predicted: Only the prediction is empty.
        both: Both are empty.
    """

    truth: MetricRule
    predicted: MetricRule
    both: MetricRule


@dataclass(frozen=True)
class AppliedMetrics:
    """Metrics of a case after a convention was applied.

    Args:
        reported: Values in the row of the case.
        averaged: Values that enter means; NaN is left out.
    """

    reported: Metrics
    averaged: Metrics

    @property
    def left_out(self) -> tuple[str, ...]:
        """Metrics that are infinite in the row and left out of means."""
        return tuple(
            name
            for name, value in self.reported.items()
            if math.isinf(value) and math.isnan(self.averaged[name])
        )


@dataclass(frozen=True)
class EmptyMaskConvention:
    """Values of metrics for empty masks, by the convention of one tool.

    Args:
        name: Name of the convention.
        rules: Rules by metric.
    """

    name: str
    rules: Mapping[str, MetricRules]

    def apply(
        self,
        metrics: Mapping[str, float],
        *,
        truth_empty: bool,
        predicted_empty: bool,
        diagonal_mm: float,
    ) -> AppliedMetrics:
        """Apply the convention to the metrics of one region of one case.

        Args:
            metrics: Metric → value. If a mask is empty, the values of metrics that have a rule are
                ignored.
            truth_empty: True if the truth is empty.
            predicted_empty: True if the prediction is empty.
            diagonal_mm: Diagonal of the scan in mm.

        Example:
            >>> row = {"dice": 0.0, "hd95_mm": math.inf, "truth_ml": 12.5}
            >>> empty = {"truth_empty": False, "predicted_empty": True, "diagonal_mm": 500.0}
            >>> find_convention("thorax").apply(row, **empty)  # doctest: +NORMALIZE_WHITESPACE
            AppliedMetrics(reported={'dice': 0.0, 'hd95_mm': inf, 'truth_ml': 12.5},
                           averaged={'dice': 0.0, 'hd95_mm': nan, 'truth_ml': 12.5})
            >>> find_convention("metrics-reloaded").apply(row, **empty).averaged
            {'dice': 0.0, 'hd95_mm': 500.0, 'truth_ml': 12.5}
        """
        if not truth_empty and not predicted_empty:
            return AppliedMetrics(dict(metrics), dict(metrics))
        kind = (
            "both" if truth_empty and predicted_empty else "truth" if truth_empty else "predicted"
        )
        rules = {name: getattr(self.rules[name], kind) for name in metrics if name in self.rules}
        reported = {name: rule.reported for name, rule in rules.items()}
        averaged = {
            name: diagonal_mm if rule.averaged == "diagonal" else rule.averaged
            for name, rule in rules.items()
        }
        return AppliedMetrics({**metrics, **reported}, {**metrics, **averaged})


def find_convention(name: str) -> EmptyMaskConvention:
    """Look up a convention.

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


def _same(truth: float, predicted: float, both: float) -> MetricRules:
    """Rules with the same value in the row and in means."""
    return MetricRules(*(MetricRule(value, value) for value in (truth, predicted, both)))


_NAN, _INF = math.nan, math.inf

_UNDEFINED = MetricRule(_NAN, _NAN)

_INFINITE = MetricRule(_INF, _NAN)

_WORST = MetricRule(_NAN, "diagonal")

_NO_SURFACE = MetricRule(_NAN, 0.0)

_THORAX = {
    "dice": _same(0.0, 0.0, _NAN),
    "iou": _same(0.0, 0.0, _NAN),
    "sensitivity": _same(_NAN, 0.0, _NAN),
    "precision": _same(0.0, _NAN, _NAN),
    "nsd": _same(0.0, 0.0, _NAN),
    "hd95_mm": MetricRules(_INFINITE, _INFINITE, _UNDEFINED),
    "mean_distance_mm": MetricRules(_INFINITE, _INFINITE, _UNDEFINED),
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
    "iou": MetricRules(MetricRule(0.0, 0.0), MetricRule(0.0, 0.0), MetricRule(_NAN, 1.0)),
    "precision": _same(0.0, 0.0, _NAN),
    "nsd": MetricRules(_NO_SURFACE, _NO_SURFACE, MetricRule(1.0, 1.0)),
    "hd95_mm": MetricRules(_WORST, _WORST, MetricRule(0.0, 0.0)),
    "mean_distance_mm": MetricRules(_WORST, _WORST, MetricRule(0.0, 0.0)),
    "lesion_sensitivity": _same(1.0, 0.0, 1.0),
    "lesion_precision": _same(0.0, 0.0, 1.0),
    "lesion_f1": _same(0.0, 0.0, 1.0),
}

_CONVENTIONS: Mapping[str, Mapping[str, MetricRules]] = {
    "thorax": _THORAX,
    "nnunet": _NNUNET,
    "surface-distance": _SURFACE_DISTANCE,
    "metrics-reloaded": _METRICS_RELOADED,
}
