"""What a comparison comes to, in one sentence that says no more than the cases do."""

import math

from thorax.experiments.paired_tests import Comparison, Metric


def conclusion(one: Comparison, confidence: float) -> str:
    """Say whether the cases tell two tables apart, which is better, and by how much.

    Where no figures whatever could have shown a difference, because there are too few cases for so
    many comparisons, the sentence says that; "no difference" would be read as a finding.

    Args:
        one: Corrected for all that was compared.
        confidence: Of the interval; what it leaves over is the level of the test.
    """
    level = level_of(confidence)
    if not any(one.differences.values()):
        return (
            f"{one.name} and {one.baseline} have the same {label(one.metric)} on {one.region} in "
            f"{'each of ' if one.cases > 1 else ''}{_cases(one)}."
        )
    if one.least_adjusted_p > level:
        return _cannot_show(one, level)
    if one.adjusted_p > level:
        return _not_told_apart(one, confidence)
    if _one_sided(one):
        return (
            f"{one.name} {_verdict(one)} {one.baseline} on {one.region}: {_change(one)} over "
            f"{_cases(one)} ({_interval(one, confidence)}, {_p(one)})."
        )
    return (
        f"The test tells {one.name} and {one.baseline} apart on {one.region} ({_p(one)}), but the "
        f"mean does not confirm it: {_change(one)} over {_cases(one)} "
        f"({_interval(one, confidence)})."
    )


def level_of(confidence: float) -> float:
    """The p up to which a difference counts as shown: 0.05 at a confidence of 0.95."""
    return round(1 - confidence, 12)


def label(metric: Metric) -> str:
    """What figures are called: those that count by their distance from 0 are absolute."""
    return f"absolute {metric.name}" if metric.absolute else metric.name


def _cannot_show(one: Comparison, level: float) -> str:
    corrected = "corrected p" if one.least_adjusted_p > one.test.smallest_possible_p else "p"
    return (
        f"{_cases(one)} cannot show at {level:g} whether {one.name} and {one.baseline} differ on "
        f"{one.region}, whatever the figures are ({corrected} is at least "
        f"{_digits(one.least_adjusted_p)}): {_change(one)}{_worth(one.metric, one.difference)}."
    )


def _not_told_apart(one: Comparison, confidence: float) -> str:
    return (
        f"{_cases(one)} do not tell {one.name} and {one.baseline} apart on {one.region} "
        f"({_p(one)}): {_change(one)}{_worth(one.metric, one.difference)}, "
        f"{_judged_interval(one, confidence)}."
    )


def _one_sided(one: Comparison) -> bool:
    """Whether the interval lies on one side of 0, the one to which the cases point."""
    if one.interval is None:
        return False
    return min(one.interval.low * one.effect, one.interval.high * one.effect) > 0


def _verdict(one: Comparison) -> str:
    return f"is {_word(one.metric, one.difference)} than" if one.metric.better else "differs from"


def _change(one: Comparison) -> str:
    if one.difference == 0:
        return f"{label(one.metric)} is the same on average"
    way = "higher" if one.difference > 0 else "lower"
    size = " ".join(filter(None, (_digits(abs(one.difference)), one.metric.unit)))
    return f"{label(one.metric)} is {way} by {size} on average"


def _worth(metric: Metric, difference: float) -> str:
    return f" ({_word(metric, difference)})" if metric.better and difference else ""


def _word(metric: Metric, difference: float) -> str:
    return "better" if (difference > 0) == (metric.better == "more") else "worse"


def _interval(one: Comparison, confidence: float) -> str:
    if one.interval is None:
        return "too few for an interval"
    low, high = _signed(one.interval.low), _signed(one.interval.high)
    return f"{100 * confidence:g} % interval {low} to {high}"


def _judged_interval(one: Comparison, confidence: float) -> str:
    """With what each end would mean."""
    if one.interval is None:
        return "too few for an interval"
    low, high = (
        f"{_signed(end)}{_worth(one.metric, end)}" for end in (one.interval.low, one.interval.high)
    )
    return f"{100 * confidence:g} % interval {low} to {high}"


def _p(one: Comparison) -> str:
    name = "corrected p" if one.adjusted_p > one.test.p else "p"
    return f"{name} < 0.0001" if one.adjusted_p < 1e-4 else f"{name} = {_digits(one.adjusted_p)}"


def _cases(one: Comparison) -> str:
    return f"{one.cases} case{'s'[: one.cases != 1]}"


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{'-' if value < 0 else '+'}{_digits(abs(value))}"


def _digits(value: float) -> str:
    """Three digits that tell something, and no exponent: 1234, 12.3, 0.0123."""
    if value == 0:
        return "0"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"
