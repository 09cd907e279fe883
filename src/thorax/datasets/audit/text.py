"""An audit as text for a terminal: sorted by severity, each advice printed once."""

import itertools
import textwrap
from collections.abc import Iterator, Sequence

from thorax.common.errors import printable
from thorax.common.text import counted
from thorax.datasets.audit.audit import Audit
from thorax.datasets.audit.findings import SEVERITIES, Finding, Severity

WIDTH = 100

_MOST_LISTED = 40
"""Findings of one check, and cases of one finding, that are listed."""

_HEADINGS: dict[Severity, str] = {"error": "ERRORS", "warning": "WARNINGS", "note": "NOTES"}


def as_text(audit: Audit, *, severities: Sequence[Severity] = SEVERITIES) -> str:
    """Format findings grouped by severity, check and advice, followed by a line of totals.

    Args:
        audit: Result of an audit.
        severities: Severities to list; the totals include all.
    """
    parts = [
        f"{_HEADINGS[severity]}\n" + "\n".join(_group_lines(audit.with_severity(severity)))
        for severity in severities
        if audit.with_severity(severity)
    ]
    return "\n\n".join([*parts, count_line(audit)])


def count_line(audit: Audit) -> str:
    """Count the cases and findings.

    Example:
        >>> count_line(Audit("chests", (), ()))
        'chests: 0 cases, no findings'
    """
    cases = counted(len(audit.facts), "case")
    totals = [
        counted(len(audit.with_severity(severity)), severity)
        for severity in SEVERITIES
        if audit.with_severity(severity)
    ] or ["no findings"]
    return f"{audit.dataset}: {cases}, {', '.join(totals)}"


def one_line(finding: Finding) -> str:
    """Format a finding as one line, with its case and advice."""
    case = f"{finding.case}: " if finding.case else ""
    return printable(f"{case}{finding.text}; {finding.advice} [{finding.check}]")


def _group_lines(findings: Sequence[Finding]) -> Iterator[str]:
    for (check, advice), group in itertools.groupby(sorted(findings, key=_group), key=_group):
        yield f"  {check}"
        by_text: dict[str, list[Finding]] = {}
        for finding in group:
            by_text.setdefault(finding.text, []).append(finding)
        for same_text in list(by_text.values())[:_MOST_LISTED]:
            yield from _text_lines(same_text)
        if len(by_text) > _MOST_LISTED:
            yield f"    and {len(by_text) - _MOST_LISTED} more; `--json` lists all"
        yield from _wrapped("      → ", advice)


def _text_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Print findings of one text: after the case, or above the cases if there are several."""
    text, cases = findings[0].text, [finding.case for finding in findings if finding.case]
    if len(cases) < 2:
        yield from _wrapped("    ", f"{cases[0]}: {text}" if cases else text)
        return
    yield from _wrapped("    ", f"{len(cases)} cases: {text}")
    more = f" and {len(cases) - _MOST_LISTED} more" if len(cases) > _MOST_LISTED else ""
    yield from _wrapped("      ", ", ".join(cases[:_MOST_LISTED]) + more)


def _group(finding: Finding) -> tuple[str, str]:
    return finding.check, finding.advice


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * max(len(head), 6),
        break_on_hyphens=False,
    )
