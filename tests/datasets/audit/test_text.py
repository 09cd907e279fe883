"""Audits as text for a terminal."""

from thorax.datasets.audit.audit import Audit
from thorax.datasets.audit.facts import CaseFacts
from thorax.datasets.audit.findings import Finding
from thorax.datasets.audit.text import WIDTH, as_text, one_line

FINDINGS = (
    Finding("mask-geometry", "error", "the mask is at another position", "resample it", "ann"),
    Finding("lungs-volume", "warning", "the lungs have 400 mL", "look at the mask", "bob"),
    Finding("lungs-volume", "warning", "the lungs have 500 mL", "look at the mask", "cem"),
    Finding("region-empty", "note", "no voxel of `infection`", "nothing", "ann"),
    Finding("region-empty", "note", "no voxel of `infection`", "nothing", "bob"),
)


def audit(*findings: Finding) -> Audit:
    return Audit("study", tuple(CaseFacts(name) for name in ("ann", "bob", "cem")), findings)


def test_errors_come_first_and_each_advice_is_printed_once() -> None:
    assert as_text(audit(*FINDINGS)).splitlines() == [
        "ERRORS",
        "  mask-geometry",
        "    ann: the mask is at another position",
        "      → resample it",
        "",
        "WARNINGS",
        "  lungs-volume",
        "    bob: the lungs have 400 mL",
        "    cem: the lungs have 500 mL",
        "      → look at the mask",
        "",
        "NOTES",
        "  region-empty",
        "    2 cases: no voxel of `infection`",
        "      ann, bob",
        "      → nothing",
        "",
        "study: 3 cases, 1 error, 2 warnings, 2 notes",
    ]


def test_a_clean_dataset_has_one_line() -> None:
    assert as_text(audit()) == "study: 3 cases, no findings"


def test_findings_of_one_check_are_separate_for_different_advice() -> None:
    findings = [
        Finding("intensity-domain", "error", "8-bit", f"write {low}", case)
        for case, low in (("ann", -1000), ("bob", -1250), ("cem", -1000))
    ]
    assert as_text(audit(*findings)).splitlines()[1:7] == [
        "  intensity-domain",
        "    2 cases: 8-bit",
        "      ann, cem",
        "      → write -1000",
        "  intensity-domain",
        "    bob: 8-bit",
    ]


def test_the_width_and_number_of_lines_are_limited() -> None:
    findings = [
        Finding("lungs-volume", "warning", f"{number} mL " * 30, "look", f"case{number}")
        for number in range(1000)
    ]
    lines = as_text(audit(*findings)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) < 200
    assert "    and 960 more; `--json` lists all" in lines


def test_a_finding_in_one_line() -> None:
    assert (
        one_line(FINDINGS[0]) == "ann: the mask is at another position; resample it [mask-geometry]"
    )
    assert one_line(Finding("a", "note", "b", "c")) == "b; c [a]"


def test_a_name_cannot_steer_the_terminal() -> None:
    harmful = Finding("case-files", "error", "no mask", "add it", "a\x1b[2Jb\n")
    assert one_line(harmful) == r"a\x1b[2Jb\n: no mask; add it [case-files]"
    assert "\x1b" not in as_text(audit(harmful))
