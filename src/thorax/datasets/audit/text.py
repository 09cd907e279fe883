"""An audit as text for a terminal: the gravest first, each piece of advice once."""

import itertools
import textwrap
from collections.abc import Iterator, Sequence

from thorax.common.errors import printable
from thorax.datasets.audit.audit import Audit
from thorax.datasets.audit.findings import SEVERITIES, Finding, Weight

WIDTH = 100

_LISTED = 40
"""Cases of one kind that are listed; in thousands, nobody reads on."""

_HEADINGS: dict[Weight, str] = {"error": "ERRORS", "warning": "WARNINGS", "note": "NOTES"}


def as_text(audit: Audit, *, weights: Sequence[Weight] = SEVERITIES) -> str:
    """Findings grouped by weight, kind and advice, and a line that counts all.

    Args:
        audit: What was found.
        weights: Which findings are listed.
    """
    parts = [
        f"{_HEADINGS[weight]}\n" + "\n".join(_group_lines(audit.of(weight)))
        for weight in weights
        if audit.of(weight)
    ]
    return "\n\n".join([*parts, count_line(audit)])


def count_line(audit: Audit) -> str:
    """How many cases and findings there are.

    Example:
        >>> count_line(Audit("chests", (), ()))
        'chests: 0 cases, nothing found'
    """
    cases = _counted(len(audit.facts), "case")
    found = [
        _counted(len(audit.of(weight)), weight) for weight in SEVERITIES if audit.of(weight)
    ] or ["nothing found"]
    return f"{audit.dataset}: {cases}, {', '.join(found)}"


def one_line(finding: Finding) -> str:
    """A finding as a line of its own, with its case and the advice."""
    case = f"{finding.case}: " if finding.case else ""
    return printable(f"{case}{finding.text}; {finding.advice} [{finding.check}]")


def _group_lines(findings: Sequence[Finding]) -> Iterator[str]:
    for (check, advice), group in itertools.groupby(sorted(findings, key=_kind), key=_kind):
        yield f"  {check}"
        same: dict[str, list[Finding]] = {}
        for finding in group:
            same.setdefault(finding.text, []).append(finding)
        for alike in list(same.values())[:_LISTED]:
            yield from _alike_lines(alike)
        if len(same) > _LISTED:
            yield f"    and {len(same) - _LISTED} more; `--json` lists all"
        yield from _wrapped("      → ", advice)


def _alike_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Findings of one text: beside their case, or above their cases if there are several."""
    text, cases = findings[0].text, [finding.case for finding in findings if finding.case]
    if len(cases) < 2:
        yield from _wrapped("    ", f"{cases[0]}: {text}" if cases else text)
        return
    yield from _wrapped("    ", f"{len(cases)} cases: {text}")
    more = f" and {len(cases) - _LISTED} more" if len(cases) > _LISTED else ""
    yield from _wrapped("      ", ", ".join(cases[:_LISTED]) + more)


def _kind(finding: Finding) -> tuple[str, str]:
    """Findings of one kind stand together, and share their advice."""
    return finding.check, finding.advice


def _wrapped(head: str, text: str) -> list[str]:
    return textwrap.wrap(
        printable(text),
        WIDTH,
        initial_indent=head,
        subsequent_indent=" " * max(len(head), 6),
        break_on_hyphens=False,
    )


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
