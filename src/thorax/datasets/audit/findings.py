"""Findings of an audit: one problem each, with its severity and advice."""

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

Severity = Literal["error", "warning", "note"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""Severities from highest to lowest. An error is certainly wrong and stops the pipeline, a warning
is suspicious, a note is information."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Finding:
    """One problem.

    Args:
        check: Identifier of the check, such as ``mask-geometry``.
        severity: Severity of the problem.
        text: The problem, with its value.
        advice: The remedy.
        case: Name of the case; empty for the whole dataset.
    """

    check: str
    severity: Severity
    text: str
    advice: str
    case: str = ""


def by_severity(finding: Finding) -> tuple[int, str, str, str]:
    """Return the sort key: severity from highest to lowest, then check, case and text.

    Example:
        >>> error, note = (Finding("a", severity, "", "") for severity in ("error", "note"))
        >>> sorted([note, error], key=by_severity) == [error, note]
        True
    """
    return SEVERITIES.index(finding.severity), finding.check, finding.case, finding.text
