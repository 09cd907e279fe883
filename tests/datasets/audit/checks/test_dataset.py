"""Cases against each other, from facts that one can check by eye."""

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
    lean: float = 0.05,
    sketch: bytes = b"",
    kind: str = "HU",
) -> CaseFacts:
    """A case with two lungs of 5 mm³ a voxel, that is 4 L a lung unless told otherwise."""
    rows: Any = (*ROWS[:2], (0.0, 0.0, plane_mm, 0.0), ROWS[3])
    file = FileFacts(f"{name}.nii", sha256=name, shape=(300, 300, 60), affine=rows)
    places = (0.7, 0.3) if right_first else (0.3, 0.7)
    labels = LabelFacts(
        {1: voxels // 2, 2: voxels // 2},
        centres={1: (places[0], 0.5, 0.5), 2: (places[1], 0.5, 0.5)},
        means={1: mean, 2: mean},
        lean=lean,
    )
    values = ValueFacts(
        -1000,
        1000,
        -500,
        0.2,
        0,
        intensity="hu",
        kind=kind,
        sketch=base64.b64encode(sketch).decode(),
    )
    return CaseFacts(name, file, file, values, labels)


def several(count: int, **changes: Any) -> list[CaseFacts]:
    """As many cases, whose volumes differ a little, and a last one that is changed."""
    like = [case(f"case{chr(97 + i)}", voxels=800_000 + 20_000 * i) for i in range(count)]
    return [*like, case("odd", **changes)]


def found(facts: Sequence[CaseFacts], spec: DatasetSpec = SPEC) -> list[tuple[str, str, str]]:
    return [(each.severity, each.check, each.case) for each in check_together(facts, spec)]


def test_like_cases_are_no_fault() -> None:
    assert found(several(10)) == []
    assert found([]) == []


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"voxels": 200_000}, "outlier-volume"),
        ({"voxels": 2_000_000}, "outlier-volume"),
        ({"mean": -400.0}, "outlier-intensity"),
        ({"plane_mm": 1.0, "voxels": 4_000_000}, "outlier-spacing"),
    ],
)
def test_what_stands_out_is_told_of(changes: dict[str, float], check: str) -> None:
    assert found(several(10, **changes)) == [("warning", check, "odd")]


def test_of_few_cases_none_stands_out() -> None:
    assert found(several(6, voxels=200_000)) == []
    assert found(several(7, voxels=200_000)) == [("warning", "outlier-volume", "odd")]


def test_labels_the_other_way_round_than_in_the_rest_are_told_of() -> None:
    assert found(several(4, right_first=True)) == [("warning", "sides-mixed", "odd")]
    assert found(several(3, right_first=True)) == []


def test_lungs_that_lean_the_other_way_than_the_rest_are_told_of() -> None:
    assert found(several(4, lean=-0.05)) == [("warning", "sides-doubtful", "odd")]
    assert found(several(3, lean=-0.05)) == []
    mirrored = [case(f"case{letter}", lean=-0.05) for letter in "abcde"]
    assert found(mirrored) == [("warning", "sides-doubtful", "")]


def test_a_mixture_of_intensities_is_a_fault_unless_it_is_told() -> None:
    facts = [case("a"), case("b"), case("c", kind="8-bit window")]
    assert found(facts) == [("warning", "intensity-mixture", "")]
    told = DatasetSpec({"lung": [1, 2]}, intensity={"c": (-1250.0, 250.0), "*": "hu"})
    assert found(facts, told) == [("note", "intensity-mixture", "")]


@pytest.mark.parametrize("names", [("Anna B", "anna_b"), ("p-07", "P07")])
def test_patients_whose_names_differ_in_spelling_alone_are_told_of(names: tuple[str, str]) -> None:
    assert found([case(name) for name in names]) == [("warning", "patient-twice", "")]


def test_patients_whose_names_differ_in_a_trailing_number_alone_are_noted() -> None:
    names = ["rad_10_85902_1", "rad_10_85902_3", "rad_14_85914_0", "rad_27_86410_0"]
    (finding,) = check_together([case(name) for name in names], SPEC)
    assert (finding.severity, finding.check) == ("note", "patient-twice")
    assert finding.text == (
        "the names of patients rad_10_85902_1, rad_10_85902_3 differ in a trailing number alone"
    )


@pytest.mark.parametrize("pattern", ["phantom_{:03d}", "case{}", "S1-{}", "study2-{}"])
def test_numbers_that_tell_patients_apart_are_no_fault(pattern: str) -> None:
    assert found([case(pattern.format(number)) for number in range(12)]) == []


def test_scans_much_alike_of_two_patients_are_told_of() -> None:
    grey = np.random.default_rng(0).integers(60, 200, (12, 12, 12))
    noise = np.random.default_rng(1).normal(0, 3, grey.shape)
    first, again = (
        each.round().astype(np.uint8).tobytes() for each in (grey, np.flip(grey + noise, 0))
    )
    facts = [case("ann", sketch=first), case("bob", sketch=again)]
    assert found(facts) == [("warning", "patient-twice", "bob")]
    one = DatasetSpec({"lung": [1, 2]}, patient=".*(n|b)")
    assert ("warning", "patient-twice", "bob") in found(facts, one)


def test_likeness_is_one_for_what_is_mirrored_rescaled_or_negative() -> None:
    grey = np.random.default_rng(0).normal(size=(3, 12, 12, 12)).astype(np.float32)
    changed = np.stack([np.flip(grey[0], (0, 2)), 7 - 3 * grey[1], np.rot90(grey[2])])
    alike = likeness(grey, changed)
    np.testing.assert_allclose(np.diag(alike)[:2], 1, atol=1e-5)
    assert alike[2, 2] < 0.2
    assert alike[0, 1] < 0.2


def test_a_label_that_never_occurs_is_noted() -> None:
    spec = DatasetSpec({"lung": [1, 2, 5], "nodule": [9]})
    assert found([case("a")], spec) == [
        ("note", "label-unused", ""),
        ("warning", "region-unused", ""),
    ]


def test_of_many_scans_the_copies_alone_are_found() -> None:
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, 256, (12, 12, 12), dtype=np.uint8) for _ in range(700)]
    facts = [case(f"p{i:03d}", sketch=each.tobytes()) for i, each in enumerate(drawn)]
    facts.append(case("twin", sketch=np.flip(drawn[650], (1, 2)).tobytes()))
    facts.append(case("two", sketch=(255 - drawn[3]).tobytes()))
    assert found(facts) == [
        ("warning", "scan-duplicate", "twin"),
        ("warning", "scan-duplicate", "two"),
    ]
