"""What an audit finds: one fault, its weight, and what to do about it."""

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Weight = Literal["error", "warning", "note"]

SEVERITIES: tuple[Weight, ...] = ("error", "warning", "note")
"""From the gravest: an error is surely wrong and stops the pipeline, a warning is suspicious, a
note is good to know."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Finding:
    """One fault.

    Args:
        check: What kind of fault it is, such as ``mask-geometry``.
        severity: How grave it is.
        text: What is the matter, with the value.
        advice: What to do.
        case: Whose it is; empty for the whole dataset.
    """

    check: str
    severity: Weight
    text: str
    advice: str
    case: str = ""


def order(finding: Finding) -> tuple[int, str, str, str]:
    """Sort key: the gravest first, then kind by kind, case by case.

    Example:
        >>> error, note = (Finding("a", weight, "", "") for weight in ("error", "note"))
        >>> sorted([note, error], key=order) == [error, note]
        True
    """
    return SEVERITIES.index(finding.severity), finding.check, finding.case, finding.text
