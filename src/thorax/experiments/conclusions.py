"""One-sentence conclusions of comparisons, limited to claims that the cases support."""

import math

from thorax.common.text import counted
from thorax.experiments.paired_tests import ComparedMetric, Comparison


def conclusion(comparison: Comparison, confidence: float) -> str:
    """State whether the cases show a difference, its direction and its size.

    If no values of so few cases could have shown a difference, the sentence states that; "no
    difference" would be read as a result.

    Args:
        comparison: Comparison with adjusted p values.
        confidence: Confidence of the interval; the level of the test is 1 - confidence.
    """
    level = level_of(confidence)
    names = f"{comparison.name} and {comparison.baseline}"
    if not any(comparison.differences.values()):
        return (
            f"{names} have the same {metric_label(comparison.metric)} on {comparison.region} in "
            f"{'each of ' if comparison.cases > 1 else ''}{_cases(comparison)}."
        )
    if comparison.least_adjusted_p > level:
        return _too_few_cases(comparison, level)
    if comparison.adjusted_p > level:
        return _not_significant(comparison, confidence)
    if _interval_confirms(comparison):
        return (
            f"{comparison.name} {_verdict(comparison)} {comparison.baseline} on "
            f"{comparison.region}: {_change(comparison)} over {_cases(comparison)} "
            f"({_interval(comparison, confidence)}, {_p(comparison)})."
        )
    return (
        f"The test shows a difference between {names} on {comparison.region} ({_p(comparison)}), "
        f"but the mean does not confirm it: {_change(comparison)} over {_cases(comparison)} "
        f"({_interval(comparison, confidence)})."
    )


def level_of(confidence: float) -> float:
    """Return the level of the test: 0.05 at a confidence of 0.95."""
    return round(1 - confidence, 12)


def metric_label(metric: ComparedMetric) -> str:
    """Return the name of a metric in sentences; absolute values are named so."""
    return f"absolute {metric.name}" if metric.absolute else metric.name


def _too_few_cases(comparison: Comparison, level: float) -> str:
    corrected = comparison.least_adjusted_p > comparison.test.smallest_possible_p
    return (
        f"{_cases(comparison)} cannot show a difference between {comparison.name} and "
        f"{comparison.baseline} on {comparison.region} at {level:g}, whatever the values are "
        f"({'corrected ' if corrected else ''}p is at least "
        f"{_digits(comparison.least_adjusted_p)}): "
        f"{_change(comparison)}{_worth(comparison.metric, comparison.difference)}."
    )


def _not_significant(comparison: Comparison, confidence: float) -> str:
    return (
        f"{_cases(comparison)} do not show a difference between {comparison.name} and "
        f"{comparison.baseline} on {comparison.region} ({_p(comparison)}): "
        f"{_change(comparison)}{_worth(comparison.metric, comparison.difference)}, "
        f"{_judged_interval(comparison, confidence)}."
    )


def _interval_confirms(comparison: Comparison) -> bool:
    """Return whether the interval excludes 0, on the same side as the effect size."""
    interval, effect = comparison.interval, comparison.effect
    return interval is not None and min(interval.low * effect, interval.high * effect) > 0


def _verdict(comparison: Comparison) -> str:
    metric = comparison.metric
    return f"is {_word(metric, comparison.difference)} than" if metric.better else "differs from"


def _change(comparison: Comparison) -> str:
    metric, difference = comparison.metric, comparison.difference
    if difference == 0:
        return f"{metric_label(metric)} is the same on average"
    direction = "higher" if difference > 0 else "lower"
    size = " ".join(filter(None, (_digits(abs(difference)), metric.unit)))
    return f"{metric_label(metric)} is {direction} by {size} on average"


def _worth(metric: ComparedMetric, difference: float) -> str:
    return f" ({_word(metric, difference)})" if metric.better and difference else ""


def _word(metric: ComparedMetric, difference: float) -> str:
    return "better" if (difference > 0) == (metric.better == "more") else "worse"


def _interval(comparison: Comparison, confidence: float) -> str:
    if comparison.interval is None:
        return "too few for an interval"
    low, high = _signed(comparison.interval.low), _signed(comparison.interval.high)
    return f"{100 * confidence:g} % interval {low} to {high}"


def _judged_interval(comparison: Comparison, confidence: float) -> str:
    """Write the interval with the meaning of each limit."""
    if comparison.interval is None:
        return "too few for an interval"
    low, high = (
        f"{_signed(limit)}{_worth(comparison.metric, limit)}"
        for limit in (comparison.interval.low, comparison.interval.high)
    )
    return f"{100 * confidence:g} % interval {low} to {high}"


def _p(comparison: Comparison) -> str:
    p = comparison.adjusted_p
    name = "corrected p" if p > comparison.test.p else "p"
    return f"{name} < 0.0001" if p < 1e-4 else f"{name} = {_digits(p)}"


def _cases(comparison: Comparison) -> str:
    return counted(comparison.cases, "case")


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{'-' if value < 0 else '+'}{_digits(abs(value))}"


def _digits(value: float) -> str:
    """Write three significant digits without an exponent: 1234, 12.3, 0.0123."""
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"
