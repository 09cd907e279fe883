"""The audit page: one file, no requests, valid links, escaped names."""

import base64
import hashlib
import re
from collections import Counter
from io import BytesIO
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from thorax.datasets.audit.audit import Audit, audit_dataset
from thorax.datasets.audit.facts import CaseFacts, FileFacts, LabelFacts, ValueFacts
from thorax.datasets.audit.findings import Finding, Severity
from thorax.datasets.dataset import DatasetSpec
from thorax.reporting.audit_page.cards import (
    audit_headline,
    case_cards,
    dataset_overview,
    finding_groups,
)
from thorax.reporting.audit_page.page import render_audit, write_page

from ...pages import Parsed

HOSTILE = "<img src=x onerror=alert(1)>"
ATTACK = """x"><script>alert('1')</script><img src=//evil.example/a>&lt;{{ 7*7 }}`</code>`"""
SPEC = DatasetSpec(
    regions={"lung": [1, 2], "disease": [2]}, patient="([a-z]+)", site="[a-z]+([0-9])"
)


def facts(
    case: str, *, shape: tuple[int, int, int] = (512, 512, 100), mm: float = 0.5
) -> CaseFacts:
    """Return a case with 4 million lung voxels, a tenth of them diseased."""
    rows = tuple(tuple(row) for row in np.diag([mm, mm, 2.0, 1.0]).tolist())
    file = FileFacts(f"{case}.nii.gz", shape=shape, affine=rows)  # type: ignore[arg-type]
    values = ValueFacts(-1024, 3071, -700, 0.1, 0, intensity="hu", kind="HU")
    return CaseFacts(case, file, file, values, LabelFacts({1: 3_600_000, 2: 400_000}))


def finding(
    severity: Severity, case: str = "", *, check: str = "a-fault", advice: str = "fix it"
) -> Finding:
    return Finding(check, severity, f"{check} of {case or 'all'}", advice, case)


@pytest.fixture
def audit() -> Audit:
    """Return one case with an error, one with a note, one without, and a warning for all."""
    findings = (finding("note", "anna1"), finding("error", "carl2"), finding("warning"))
    return Audit("ward", (facts("anna1"), facts("bert1"), facts("carl2", mm=1.0)), findings)


def test_the_headline_counts_findings(audit: Audit) -> None:
    assert audit_headline(audit)[0] == "1 error, 1 warning and 1 note in 3 cases."


def test_the_headline_without_findings_makes_no_promise() -> None:
    assert audit_headline(Audit("ward", (facts("anna1"),), ())) == [
        "No findings in 1 case.",
        "The checks cannot decide if the masks are correct.",
    ]


def test_cases_are_sorted_by_severity(audit: Audit) -> None:
    cards = case_cards(audit, SPEC)
    assert [(card.name, card.severity) for card in cards] == [
        ("carl2", "error"),
        ("anna1", "note"),
        ("bert1", None),
    ]
    assert [card.key for card in cards] == ["case-1", "case-2", "case-3"]


def test_a_card_has_grid_values_volumes_and_findings(audit: Audit) -> None:
    card = case_cards(audit, SPEC)[0]
    assert card.origin == "patient carl, site 2"
    assert card.rows == (("grid", "512×512×100"), ("spacing", "1×1×2 mm"), ("values", "HU"))
    # 4 million voxels of 2 mm³, and a tenth of them.
    assert [(region.name, region.volume) for region in card.regions] == [
        ("lung", "8,000 mL"),
        ("disease", "800 mL"),
    ]
    assert card.findings == (finding("error", "carl2"),)


def test_an_unreadable_case_has_a_card() -> None:
    broken = CaseFacts("dora1", FileFacts("dora1.nii.gz", problem="cut short"), None)
    card = case_cards(Audit("ward", (broken,), ()), SPEC)[0]
    assert card.rows == (("grid", "unknown"), ("spacing", "unknown"), ("values", "unknown"))
    assert {region.volume for region in card.regions} == {"unknown"}


def test_the_overview_describes_the_dataset(audit: Audit) -> None:
    assert dataset_overview(audit, SPEC) == [
        ("cases", "3"),
        ("patients", "3"),
        ("sites", "1 (2) and 2 (1)"),
        ("voxels per slice", "512×512"),
        ("slices per scan", "100"),
        ("spacing in the slice", "0.5 to 1 mm"),
        ("spacing between slices", "2 mm"),
        ("values", "HU"),
        ("volume of lung", "2,000 to 8,000 mL, median 2,000 mL"),
        ("volume of disease", "200 to 800 mL, median 200 mL"),
    ]


def test_patients_with_several_cases_are_counted() -> None:
    rows = dict(dataset_overview(Audit("ward", (facts("anna1"), facts("anna2")), ()), SPEC))
    assert rows["patients"] == "1, 1 with several cases"


def test_only_the_most_frequent_values_are_listed() -> None:
    cases = tuple(facts(f"anna{number}", shape=(500 + number, 512, 9)) for number in range(8))
    rows = dict(dataset_overview(Audit("ward", cases, ()), SPEC))
    assert rows["voxels per slice"].endswith("504×512 (1) and 3 more")


def test_findings_of_one_kind_share_their_advice() -> None:
    findings = (finding("error", "anna1"), finding("error", "bert1"), finding("note", "anna1"))
    audit = Audit("ward", (facts("anna1"), facts("bert1")), findings)
    groups = finding_groups(audit, case_cards(audit, SPEC))
    assert [(group.severity, group.title, group.advice) for group in groups] == [
        ("error", "A fault", "fix it"),
        ("note", "A fault", "fix it"),
    ]
    assert [location.key for location in groups[0].locations] == ["case-1", "case-2"]


def test_different_advice_is_listed_with_each_finding() -> None:
    findings = (finding("error", "anna1"), finding("error", "bert1", advice="leave it"))
    audit = Audit("ward", (facts("anna1"), facts("bert1")), findings)
    assert finding_groups(audit, case_cards(audit, SPEC))[0].advice == ""
    words = Parsed(render_audit(audit, SPEC, {})).words
    assert words.index("a-fault of anna1") < words.index("fix it") < words.index("leave it")


def test_elements_are_closed_and_links_are_valid(audit: Audit) -> None:
    parsed = Parsed(render_audit(audit, SPEC, {"anna1": b"picture"}))
    assert parsed.open == []
    names = parsed.all("id")
    assert [name for name, count in Counter(names).items() if count > 1] == []
    links = [link for link in parsed.all("href") if link != "data:,"]
    assert {"#case-1", "#case-2"} <= set(links)
    assert {link for link in links if link[0] != "#" or link[1:] not in names} == set()
    assert set(parsed.all("aria-labelledby")) <= set(names)


def test_the_page_sends_no_requests_and_runs_one_script(audit: Audit) -> None:
    page = render_audit(audit, SPEC, {"anna1": b"abc"})
    parsed = Parsed(page)
    assert parsed.all("src") == ["data:image/jpeg;base64,YWJj"]
    assert "http:" not in page
    assert "https:" not in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert parsed.all("content")[0].startswith(
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
    )


def test_names_and_texts_are_escaped() -> None:
    spec = DatasetSpec(
        regions={ATTACK: [1]}, title=ATTACK, patient="(.+)", site="(.+)", note=ATTACK
    )
    case = facts(HOSTILE)
    values = ValueFacts(0, 1, 0, 0.1, 0, kind=ATTACK)
    hostile = CaseFacts(HOSTILE, case.scan, case.mask, values, case.labels)
    findings = tuple(Finding(ATTACK, "error", ATTACK, ATTACK, name) for name in (HOSTILE, ""))
    page = render_audit(Audit(ATTACK, (hostile,), findings), spec, {HOSTILE: b"abc"})
    parsed = Parsed(page)
    assert parsed.open == []
    assert (parsed.count("script"), parsed.count("img")) == (1, 1)
    assert "{{ 7*7 }}" in parsed.words
    assert all(not name.startswith("on") for _, attrs in parsed.tags for name in attrs)
    assert HOSTILE in parsed.words
    assert f"Coronal and axial slice of {HOSTILE}" in parsed.all("alt")


def test_text_between_backticks_is_code(audit: Audit) -> None:
    typed = Audit("ward", audit.facts, (finding("error", advice="run `thorax data list` now"),))
    page = render_audit(typed, SPEC, {})
    assert "run <code>thorax data list</code> now" in page
    odd = Audit("ward", audit.facts, (finding("error", advice="a lonely ` stays"),))
    assert (
        "<code>" not in render_audit(odd, SPEC, {}).partition("<footer>")[0].partition("<body>")[2]
    )


def test_more_than_ten_findings_of_a_kind_are_collapsed() -> None:
    cases = tuple(facts(f"anna{number}") for number in range(12))
    findings = tuple(finding("note", case.case) for case in cases)
    parsed = Parsed(render_audit(Audit("ward", cases, findings), SPEC, {}))
    assert parsed.count("details") == 1
    assert "2 more" in parsed.words
    assert "12 times" in parsed.words


def test_cases_without_findings_can_be_filtered_out(audit: Audit) -> None:
    parsed = Parsed(render_audit(audit, SPEC, {}))
    classes = [attrs["class"] for tag, attrs in parsed.tags if tag == "article"]
    assert classes == ["scan", "scan", "scan plain"]
    assert "All 3 With findings 2" in parsed.words
    sound = Audit("ward", audit.facts, ())
    assert "With findings" not in Parsed(render_audit(sound, SPEC, {})).words


def test_equal_audits_give_equal_pages(audit: Audit) -> None:
    assert render_audit(audit, SPEC, {}) == render_audit(audit, SPEC, {})


def save(path: Path, voxels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([6.0, 6.0, 10.0, 1.0])), path)


def test_the_page_has_a_picture_of_each_readable_case(tmp_path: Path) -> None:
    folder = tmp_path / "ward"
    voxels = np.random.default_rng(0).integers(-1000, 100, (40, 40, 12)).astype(np.int16)
    for name in (HOSTILE, "broken", "no-mask"):
        save(folder / "scans" / f"{name}.nii.gz", voxels)
        if name != "no-mask":
            save(folder / "masks" / f"{name}.nii.gz", (voxels > 0).astype(np.uint8))
    (folder / "scans" / "broken.nii.gz").write_bytes(b"no image")
    (folder / "dataset.yaml").write_text("regions:\n  lung: [1]\n")
    page = tmp_path / "pages" / "audit.html"
    write_page(page, audit_dataset(folder, workers=1), folder)
    parsed = Parsed(page.read_text(encoding="utf-8"))
    assert set(parsed.all("alt")) == {
        f"Coronal and axial slice of {name}" for name in (HOSTILE, "no-mask")
    }
    assert "1 of 3 cases have no picture" in parsed.words
    for source in parsed.all("src"):
        picture = Image.open(BytesIO(base64.b64decode(source.partition(",")[2])))
        assert picture.size == (388, 192)
