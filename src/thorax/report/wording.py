"""Figures and sentences as people read them."""

import math
from collections.abc import Sequence

from thorax.report.estimates import FEW, Estimate, estimate
from thorax.report.protocol import FIGURES
from thorax.report.results import Results

UNDEFINED = "–"
INFINITE = "∞"


def shown(value: float, digits: int = 3) -> str:
    """A figure with its sign and its digits.

    Example:
        >>> [shown(value, 1) for value in (0.25, -12345.6, -0.01, math.inf, math.nan)]
        ['0.2', '−12,345.6', '0.0', '∞', '–']
    """
    if math.isnan(value):
        return UNDEFINED
    if math.isinf(value):
        return INFINITE if value > 0 else f"−{INFINITE}"
    text = f"{value:,.{digits}f}"
    return text.lstrip("-") if not text.strip("-0.,") else text.replace("-", "−")


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


def listed(names: Sequence[str], *, nothing: str = "none") -> str:
    """Names in a sentence.

    Example:
        >>> listed(["a", "b", "c"]), listed([])
        ('a, b and c', 'none')
    """
    if len(names) < 2:
        return names[0] if names else nothing
    return f"{', '.join(names[:-1])} and {names[-1]}"


def counted(count: int, thing: str) -> str:
    """A number of things.

    Example:
        >>> counted(1, "test case"), counted(1200, "test case")
        ('1 test case', '1,200 test cases')
    """
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def duration(seconds: float) -> str:
    """How long something took.

    Example:
        >>> [duration(seconds) for seconds in (42.4, 754, 7330)]
        ['42 s', '12 min 34 s', '2 h 2 min']
    """
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {seconds % 60:.0f} s" if minutes else f"{seconds:.0f} s"


def percent(share: float) -> str:
    """A share for people.

    Example:
        >>> percent(0.95), percent(0.975)
        ('95 %', '97.5 %')
    """
    return f"{100 * share:.10g} %"


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
    reach = interval(dice, FIGURES["dice"].digits)
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
