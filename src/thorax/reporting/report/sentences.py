"""Figures and sentences as people read them."""

import math

from thorax.common.text import INFINITE, counted, listed, percent, shown
from thorax.reporting.report.estimates import FEW, Estimate, estimate
from thorax.reporting.report.metrics import METRICS
from thorax.reporting.report.results import Results


def interval(found: Estimate, digits: int) -> str:
    """The interval of a mean; empty where there is none.

    Example:
        >>> interval(Estimate(mean=0.5, low=0.25, high=0.75, cases=9), 2)
        '0.25 to 0.75'
    """
    if math.isnan(found.low) or math.isnan(found.high):
        return ""
    return f"{shown(found.low, digits)} to {shown(found.high, digits)}"


def aside(found: Estimate, digits: int) -> str:
    """The interval of a mean, and how many cases are infinite.

    Example:
        >>> aside(Estimate(mean=0.5, low=0.25, high=0.75, cases=9, infinite=1), 2)
        '0.25 to 0.75; ∞ in 1 of 9'
    """
    infinite = f"{INFINITE} in {found.infinite} of {found.cases}" if found.infinite else ""
    return "; ".join(filter(None, [interval(found, digits), infinite]))


def headline(results: Results) -> list[str]:
    """What was found, in one plain sentence, and what to make of it."""
    if not results.cases:
        return [
            f"This model of {results.params.dataset} was tested on no case, so that nothing here "
            "says how well it segments: no case was set aside for testing, as for a final model "
            "that learns from everything."
        ]
    found = [_found(results, region) for region in results.regions]
    cases = counted(len(results.cases), "test case")
    return [f"On {cases} of {results.params.dataset}, {listed(found)}.", *_cautions(results)]


def _found(results: Results, region: str) -> str:
    dice = estimate(results, region, "dice")
    if math.isnan(dice.mean):
        return f"the {region} has no defined Dice"
    if dice.cases == 1:
        return f"the {region} is found with a Dice of {shown(dice.mean)}"
    reach = interval(dice, METRICS["dice"].digits)
    share = percent(results.params.evaluate.confidence)
    return f"the {region} is found with a mean Dice of {shown(dice.mean)}" + (
        f" ({share} interval {reach})" if reach else ""
    )


def _cautions(results: Results) -> list[str]:
    patients = len({results.patients.get(case, case) for case in results.cases})
    cautions = []
    if patients < len(results.cases):
        cautions.append(
            f"They are of {counted(patients, 'patient')}; cases of one patient resemble each other."
        )
    if patients < FEW:
        given = any(interval(estimate(results, region, "dice"), 3) for region in results.regions)
        cautions.append(
            f"An interval over so few patients ({patients}) says little"
            f"{'' if given else ', and is not given'}: look at the single cases."
        )
    return cautions
