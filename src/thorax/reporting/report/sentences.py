"""Headline of the report, and its cautions."""

import math

from thorax.common.text import INFINITE, counted, percent, shown
from thorax.reporting.report.estimates import FEW, Estimate, estimate
from thorax.reporting.report.metrics import METRICS
from thorax.reporting.report.results import Results


def interval_text(value: Estimate, digits: int) -> str:
    """Write the interval of a mean; empty if there is none.

    Example:
        >>> interval_text(Estimate(mean=0.5, low=0.25, high=0.75, cases=9), 2)
        '0.25 to 0.75'
    """
    if math.isnan(value.low) or math.isnan(value.high):
        return ""
    return f"{shown(value.low, digits)} to {shown(value.high, digits)}"


def estimate_detail(value: Estimate, digits: int) -> str:
    """Write the interval of a mean and the number of infinite cases.

    Example:
        >>> estimate_detail(Estimate(mean=0.5, low=0.25, high=0.75, cases=9, infinite=1), 2)
        '0.25 to 0.75; ∞ in 1 of 9'
    """
    infinite = f"{INFINITE} in {value.infinite} of {value.cases}" if value.infinite else ""
    return "; ".join(filter(None, [interval_text(value, digits), infinite]))


def headline_sentences(results: Results) -> list[str]:
    """Write the main result as one sentence, followed by cautions."""
    dataset = results.params.dataset
    if not results.cases:
        return [
            f"The model of {dataset} was not tested: there are no test cases, as for a final model."
        ]
    cases = counted(len(results.cases), "test case")
    mean = "Mean Dice" if len(results.cases) > 1 else "Dice"
    regions = ", ".join(_dice(results, region) for region in results.regions)
    return [f"{mean} on {cases} of {dataset}: {regions}.", *_cautions(results)]


def _dice(results: Results, region: str) -> str:
    dice = estimate(results, region, "dice")
    if math.isnan(dice.mean):
        return f"{region} undefined"
    interval = interval_text(dice, METRICS["dice"].digits)
    share = percent(results.params.evaluate.confidence)
    cases = counted(dice.cases, "case") if dice.cases < len(results.cases) else ""
    details = ", ".join(filter(None, [cases, f"{share} interval {interval}" if interval else ""]))
    return f"{region} {shown(dice.mean)}" + (f" ({details})" if details else "")


def _cautions(results: Results) -> list[str]:
    patients = len({results.patients.get(case, case) for case in results.cases})
    cautions = []
    if patients < len(results.cases):
        cautions.append(
            f"The cases are from {counted(patients, 'patient')}; cases of one patient are similar."
        )
    if patients < FEW:
        has_interval = any(
            interval_text(estimate(results, region, "dice"), 3) for region in results.regions
        )
        cautions.append(
            f"With {counted(patients, 'patient')} an interval is not meaningful"
            f"{'' if has_interval else ' and is not given'}: look at the single cases."
        )
    return cautions
