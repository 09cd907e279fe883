"""Comparison of cases, from facts that can be checked by eye."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from thorax.datasets.audit.checks.dataset import check_together
from thorax.datasets.audit.facts import CaseFacts, FileFacts, LabelFacts, ValueFacts
from thorax.datasets.audit.fingerprints import likeness
from thorax.datasets.dataset import DatasetSpec

SPEC = DatasetSpec({"lung": [1, 2]})
ROWS = ((1.0, 0.0, 0.0, 0.0), (0.0, 1.0, 0.0, 0.0), (0.0, 0.0, 5.0, 0.0), (0.0, 0.0, 0.0, 1.0))


def case(
    name: str,
    *,
    voxels: int = 800_000,
    plane_mm: float = 5.0,
    mean: float = -800.0,
    right_first: bool = False,
    handedness: float = 0.05,
    fingerprint: bytes = b"",
    kind: str = "HU",
) -> CaseFacts:
    """A case with two lungs; a voxel has 5 mm³, so the lungs have 4 L unless changed."""
    rows: Any = (*ROWS[:2], (0.0, 0.0, plane_mm, 0.0), ROWS[3])
    file = FileFacts(f"{name}.nii", sha256=name, shape=(300, 300, 60), affine=rows)
    first, second = (0.7, 0.3) if right_first else (0.3, 0.7)
    labels = LabelFacts(
        {1: voxels // 2, 2: voxels // 2},
        centres={1: (first, 0.5, 0.5), 2: (second, 0.5, 0.5)},
        means={1: mean, 2: mean},
        handedness=handedness,
    )
    values = ValueFacts(
        -1000,
        1000,
        -500,
        0.2,
        0,
        intensity="hu",
        kind=kind,
        fingerprint=base64.b64encode(fingerprint).decode(),
    )
    return CaseFacts(name, file, file, values, labels)


def several(count: int, **changes: Any) -> list[CaseFacts]:
    """Cases with slightly different volumes, and a last one with changes."""
    usual = [case(f"case{chr(97 + i)}", voxels=800_000 + 20_000 * i) for i in range(count)]
    return [*usual, case("odd", **changes)]


def findings_of(facts: Sequence[CaseFacts], spec: DatasetSpec = SPEC) -> list[tuple[str, str, str]]:
    findings = check_together(facts, spec)
    return [(finding.severity, finding.check, finding.case) for finding in findings]


def test_similar_cases_have_no_findings() -> None:
    assert findings_of(several(10)) == []
    assert findings_of([]) == []


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"voxels": 200_000}, "outlier-volume"),
        ({"voxels": 2_000_000}, "outlier-volume"),
        ({"mean": -400.0}, "outlier-intensity"),
        ({"plane_mm": 1.0, "voxels": 4_000_000}, "outlier-spacing"),
    ],
)
def test_outliers_are_reported(changes: dict[str, float], check: str) -> None:
    assert findings_of(several(10, **changes)) == [("warning", check, "odd")]


def test_few_cases_have_no_outliers() -> None:
    assert findings_of(several(6, voxels=200_000)) == []
    assert findings_of(several(7, voxels=200_000)) == [("warning", "outlier-volume", "odd")]


def test_labels_swapped_against_the_other_cases_are_reported() -> None:
    assert findings_of(several(4, right_first=True)) == [("warning", "sides-mixed", "odd")]
    assert findings_of(several(3, right_first=True)) == []


def test_handedness_against_the_other_cases_is_reported() -> None:
    assert findings_of(several(4, handedness=-0.05)) == [("warning", "sides-doubtful", "odd")]
    assert findings_of(several(3, handedness=-0.05)) == []
    mirrored = [case(f"case{letter}", handedness=-0.05) for letter in "abcde"]
    assert findings_of(mirrored) == [("warning", "sides-doubtful", "")]


def test_a_mixture_of_intensities_is_a_warning_unless_declared() -> None:
    facts = [case("a"), case("b"), case("c", kind="8-bit window")]
    assert findings_of(facts) == [("warning", "intensity-mixture", "")]
    declared = DatasetSpec({"lung": [1, 2]}, intensity={"c": (-1250.0, 250.0), "*": "hu"})
    assert findings_of(facts, declared) == [("note", "intensity-mixture", "")]


@pytest.mark.parametrize("names", [("Anna B", "anna_b"), ("p-07", "P07")])
def test_patients_whose_names_differ_only_in_spelling_are_reported(names: tuple[str, str]) -> None:
    assert findings_of([case(name) for name in names]) == [("warning", "patient-twice", "")]


def test_patients_whose_names_differ_only_in_a_trailing_number_are_noted() -> None:
    names = ["rad_10_85902_1", "rad_10_85902_3", "rad_14_85914_0", "rad_27_86410_0"]
    (finding,) = check_together([case(name) for name in names], SPEC)
    assert (finding.severity, finding.check) == ("note", "patient-twice")
    assert finding.text == (
        "the names of patients rad_10_85902_1, rad_10_85902_3 differ only in a trailing number"
    )


@pytest.mark.parametrize("pattern", ["phantom_{:03d}", "case{}", "S1-{}", "study2-{}"])
def test_numbers_that_identify_patients_are_not_reported(pattern: str) -> None:
    assert findings_of([case(pattern.format(number)) for number in range(12)]) == []


def test_similar_scans_of_two_patients_are_reported() -> None:
    grey = np.random.default_rng(0).integers(60, 200, (12, 12, 12))
    noise = np.random.default_rng(1).normal(0, 3, grey.shape)
    first, second = (
        blocks.round().astype(np.uint8).tobytes() for blocks in (grey, np.flip(grey + noise, 0))
    )
    facts = [case("ann", fingerprint=first), case("bob", fingerprint=second)]
    assert findings_of(facts) == [("warning", "patient-twice", "bob")]
    two_patients = DatasetSpec({"lung": [1, 2]}, patient=".*(n|b)")
    assert ("warning", "patient-twice", "bob") in findings_of(facts, two_patients)


def test_likeness_is_1_for_mirrored_rescaled_and_negative_images() -> None:
    grey = np.random.default_rng(0).normal(size=(3, 12, 12, 12)).astype(np.float32)
    changed = np.stack([np.flip(grey[0], (0, 2)), 7 - 3 * grey[1], np.rot90(grey[2])])
    correlations = likeness(grey, changed)
    np.testing.assert_allclose(np.diag(correlations)[:2], 1, atol=1e-5)
    assert correlations[2, 2] < 0.2
    assert correlations[0, 1] < 0.2


def test_a_label_that_never_occurs_is_noted() -> None:
    spec = DatasetSpec({"lung": [1, 2, 5], "nodule": [9]})
    assert findings_of([case("a")], spec) == [
        ("note", "label-unused", ""),
        ("warning", "region-unused", ""),
    ]


def test_only_the_copies_among_many_scans_are_found() -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (12, 12, 12), dtype=np.uint8) for _ in range(700)]
    facts = [case(f"p{i:03d}", fingerprint=image.tobytes()) for i, image in enumerate(images)]
    facts.append(case("twin", fingerprint=np.flip(images[650], (1, 2)).tobytes()))
    facts.append(case("two", fingerprint=(255 - images[3]).tobytes()))
    assert findings_of(facts) == [
        ("warning", "scan-duplicate", "twin"),
        ("warning", "scan-duplicate", "two"),
    ]
