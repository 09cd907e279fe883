"""What Dice to expect of a mask whose truth nobody knows, learnt on cases that were held out."""

import math
import statistics
from collections.abc import Iterable
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked

from thorax.errors import InputError

LEAST_CASES = 3
"""Cases below which nothing is expected: two tell hardly anything of a spread."""
CONFIDENCE = 0.9
"""Share of further cases of the same kind that should fall within what is told."""
Share = Annotated[float, Field(ge=0, le=1)]


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class ExpectedDice:
    """The Dice that is expected of one region of one scan.

    Args:
        dice: The most likely one.
        low: Nine of ten cases of the same kind lie between this
        high: and this.
    """

    dice: Share
    low: Share
    high: Share

    def __str__(self) -> str:
        return f"{self.dice:.2f} ({self.low:.2f} to {self.high:.2f})"


@checked(frozen=True, config=ConfigDict(extra="forbid"))
class Expectation:
    """What the certainty of a model stood for on held-out cases, for one region.

    One figure is learnt, the mean difference of Dice and certainty: held-out cases are too few for
    more. Scans of another kind than those may do worse than is told.

    Args:
        cases: Held-out cases that this was learnt on.
        shift: Dice is larger than `thorax.doubt.certainty` by so much, in the mean.
        error: Half the width of the interval for a further case.
        least_certainty: A further case is less sure than this in one of twenty, or less sure than
            any held-out case, whichever is more.
    """

    cases: Annotated[int, Field(ge=LEAST_CASES)]
    shift: Annotated[float, Field(ge=-1, le=1)]
    error: Annotated[float, Field(ge=0)]
    least_certainty: float

    def dice(self, certainty: float) -> ExpectedDice:
        """The Dice that a certainty stands for.

        Example:
            >>> print(Expectation(5, shift=0.05, error=0.04, least_certainty=0.8).dice(0.9))
            0.95 (0.91 to 0.99)
        """
        middle = certainty + self.shift
        low, dice, high = (
            round(min(max(figure, 0.0), 1.0), 4)
            for figure in (middle - self.error, middle, middle + self.error)
        )
        return ExpectedDice(dice, low, high)

    def __str__(self) -> str:
        return f"certainty {self.shift:+.3f} ± {self.error:.3f} ({self.cases} held-out cases)"


def learn(cases: Iterable[tuple[float, float]]) -> Expectation | None:
    """Learn what Dice to expect.

    Intervals are Student's for one further observation of a normal sample of n:
    ``t · s · sqrt(1 + 1/n)`` with n - 1 degrees of freedom.

    Args:
        cases: Certainty and Dice of each held-out case; those that lack one are left out.

    Returns:
        None where there are too few cases.

    Raises:
        InputError: A figure is no share.

    Example:
        >>> print(learn([(0.90, 0.96), (0.80, 0.86), (0.85, 0.91)]))
        certainty +0.060 ± 0.000 (3 held-out cases)
    """
    known = [pair for pair in cases if all(map(math.isfinite, pair))]
    for figure in (figure for pair in known for figure in pair):
        if not 0 <= figure <= 1:
            raise InputError(f"certainty and Dice must lie between 0 and 1, got {figure:g}")
    if len(known) < LEAST_CASES:
        return None
    sure = [certainty for certainty, _ in known]
    shifts = [dice - certainty for certainty, dice in known]
    return Expectation(
        cases=len(known),
        shift=round(statistics.mean(shifts), 4),
        error=round(_further(shifts), 4),
        least_certainty=round(max(statistics.mean(sure) - _further(sure), min(sure)), 4),
    )


def _further(sample: list[float]) -> float:
    """How far from the mean a further observation falls, either way, in nine of ten."""
    from scipy.stats import t

    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(sample) - 1))
    return quantile * statistics.stdev(sample) * math.sqrt(1 + 1 / len(sample))
