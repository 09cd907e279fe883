"""Diseases in synthetic chests: what is lung and what is not."""

from collections import Counter
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from thorax.phantom import LEFT, RIGHT, Variety, chest
from thorax.phantom.anatomy import Habitus, body_outline, draw_habitus
from thorax.phantom.diseases import (
    Finding,
    Findings,
    draw_findings,
    draw_parenchymal_diseases,
    draw_solid_diseases,
    reshape_lungs,
)
from thorax.phantom.diseases.findings import CHANCES, LOST_LUNG
from thorax.phantom.lungs import Lungs, shape_lungs
from thorax.phantom.space import Space, position_patient

AXES = (
    np.arange(-170.0, 170.0, 3.0, dtype=np.float32),
    np.arange(-140.0, 140.0, 3.0, dtype=np.float32),
    np.arange(-20.0, 280.0, 8.0, dtype=np.float32),
)
FAT_HU, LUNG_HU = -105.0, -850.0
NOT_LUNG = {
    "pleural effusion",
    "loculated effusion",
    "empyema with gas",
    "pleural thickening",
    "pleural plaques",
    "pneumothorax",
    "hydropneumothorax",
    "pneumonectomy",
}
EXTENDED = {"lobectomy", "whole-lung collapse"}

Scan = tuple[NDArray[np.float32], Lungs, Lungs, Space]


@cache
def patient(*findings: Finding, gravity_rad: float = 0.0) -> tuple[Space, Habitus, Lungs]:
    habitus = Findings(findings).change_habitus(draw_habitus(np.random.default_rng(0)))
    space = position_patient(AXES, np.random.default_rng(2), gravity_rad=gravity_rad)
    return space, habitus, shape_lungs(space, habitus, body_outline(space, habitus))


def draw(*findings: Finding, seed: int = 0, gravity_rad: float = 0.0) -> Scan:
    """Draw findings into a chest of fat and lung; return density, lungs before and after."""
    space, habitus, before = patient(*findings, gravity_rad=gravity_rad)
    drawn, rng = Findings(findings), np.random.default_rng(seed)
    hu = np.full(space.shape, FAT_HU, dtype=np.float32)
    after = reshape_lungs(hu, space, habitus, before, drawn, rng=rng)
    hu[after.sides > 0] = LUNG_HU
    draw_parenchymal_diseases(hu, space, habitus, after, drawn, rng=rng)
    draw_solid_diseases(hu, space, habitus, after, drawn, rng=rng)
    return hu, before, after, space


def of(kind: str, *sides: str, severity: float = 0.7, level: float = 0.5) -> Finding:
    return Finding(kind, sides or ("right",), severity, level)


def test_every_disease_is_drawn_in_at_least_one_percent_of_patients() -> None:
    drawn = [draw_findings(np.random.default_rng(n)).kinds for n in range(3000)]
    counts = Counter(kind for kinds in drawn for kind in kinds)
    assert set(counts) == set(CHANCES)
    assert min(counts.values()) > 30
    assert 1150 < sum(not kinds for kinds in drawn) < 1400


def test_a_patient_loses_one_lung_only() -> None:
    drawn = [draw_findings(np.random.default_rng(n)).kinds for n in range(3000)]
    assert max(len(LOST_LUNG.intersection(kinds)) for kinds in drawn) == 1


@pytest.mark.parametrize("kind", CHANCES)
@pytest.mark.parametrize("severity", [0.0, 1.0])
def test_a_disease_keeps_the_mask_and_the_depth_consistent(kind: str, severity: float) -> None:
    hu, before, after, _ = draw(of(kind, severity=severity))
    assert np.isfinite(hu).all()
    assert np.array_equal(after.sides > 0, after.depth > 0)
    assert set(np.unique(after.sides)) <= {0, LEFT, RIGHT}
    if kind not in NOT_LUNG | EXTENDED:
        assert np.array_equal(after.sides, before.sides)


@pytest.mark.parametrize("kind", CHANCES)
def test_a_disease_is_visible(kind: str) -> None:
    hu, before, _, _ = draw(of(kind, "left", "right", severity=0.5))
    plain = np.where(before.sides > 0, LUNG_HU, FAT_HU)
    assert np.count_nonzero(np.abs(hu - plain) > 40.0) > 20


@pytest.mark.parametrize("kind", ["pleural effusion", "loculated effusion", "pleural thickening"])
def test_fluid_and_thick_pleura_are_not_lung(kind: str) -> None:
    hu, before, after, _ = draw(of(kind))
    removed = (before.sides == RIGHT) & (after.sides == 0)
    assert np.count_nonzero(removed) > 100
    assert np.median(hu[removed]) > -10.0


@pytest.mark.parametrize("severity", [0.3, 0.6, 1.0])
def test_the_air_of_a_pneumothorax_is_not_lung(severity: float) -> None:
    hu, before, after, _ = draw(of("pneumothorax", severity=severity))
    removed = (before.sides == RIGHT) & (after.sides == 0)
    assert np.count_nonzero(removed) > 300
    assert np.all(hu[removed & (after.depth < -4.0)] == -995.0)
    assert np.count_nonzero(after.sides == RIGHT) > 100


def test_a_complete_pneumothorax_leaves_a_small_lung() -> None:
    _, before, after, _ = draw(of("pneumothorax", severity=1.0))
    left_over = np.count_nonzero(after.sides == RIGHT) / np.count_nonzero(before.sides == RIGHT)
    assert left_over < 0.4


@pytest.mark.parametrize("severity", [0.0, 0.5, 1.0])
def test_a_giant_bulla_is_air_in_the_lung(severity: float) -> None:
    hu, before, after, _ = draw(of("giant bulla", severity=severity))
    assert np.array_equal(after.sides, before.sides)
    air = np.count_nonzero((hu < -960.0) & (after.sides == RIGHT))
    assert air / np.count_nonzero(after.sides == RIGHT) > 0.25
    assert not np.any((hu < -960.0) & (after.sides != RIGHT))


@pytest.mark.parametrize("kind", ["whole-lung consolidation", "whole-lung collapse", "mass"])
def test_solid_lung_and_tumours_are_lung(kind: str) -> None:
    hu, _, after, _ = draw(of(kind, severity=0.8))
    assert np.count_nonzero((hu > -30.0) & (after.sides == RIGHT)) > 300


def test_pneumonectomy_leaves_one_lung_that_crosses_the_midline() -> None:
    hu, before, after, space = draw(of("pneumonectomy", severity=0.9))
    assert not np.any(after.sides == RIGHT)
    gained = (after.sides == LEFT) & (before.sides != LEFT)
    assert np.count_nonzero(gained) > 200
    assert space.x[gained].max() > 10.0
    assert np.median(hu[(before.sides == RIGHT) & (after.sides == 0)]) > -10.0


@pytest.mark.parametrize(("gravity_rad", "axis", "sign"), [(0.0, 1, -1), (np.pi, 1, 1)])
def test_fluid_collects_in_the_lower_part(gravity_rad: float, axis: int, sign: int) -> None:
    finding = of("pleural effusion", severity=0.6)
    _, before, after, space = draw(finding, gravity_rad=gravity_rad)
    fluid = (before.sides == RIGHT) & (after.sides == 0)
    at = (space.x, space.y)[axis]
    assert sign * (at[fluid].mean() - at[after.sides == RIGHT].mean()) > 15.0


def test_air_is_above_fluid_in_a_hydropneumothorax() -> None:
    hu, before, after, space = draw(of("hydropneumothorax", severity=0.8))
    removed = (before.sides == RIGHT) & (after.sides == 0)
    air, fluid = removed & (hu < -900.0), removed & (hu > -30.0)
    assert min(np.count_nonzero(air), np.count_nonzero(fluid)) > 100
    assert np.percentile(space.y[air], 10) > np.percentile(space.y[fluid], 90) - 5.0


def test_emphysema_in_the_skin_leaves_the_lungs() -> None:
    hu, _, after, _ = draw(of("subcutaneous emphysema", severity=1.0))
    assert np.all(hu[after.sides > 0] == LUNG_HU)
    assert np.count_nonzero(hu < -900.0) > 100


def test_a_disease_of_the_left_lung_leaves_the_right_one() -> None:
    parts = ("honeycombing", "lobar consolidation", "cavity", "bullae", "pleural effusion")
    hu, before, after, _ = draw(*(of(kind, "left") for kind in parts))
    assert np.array_equal(after.sides == RIGHT, before.sides == RIGHT)
    inner = (after.sides == RIGHT) & (after.depth > 12.0)
    assert np.all(hu[inner] == LUNG_HU)


def test_a_scan_without_lungs_stays_as_it_is() -> None:
    space, habitus, lungs = patient()
    empty = Lungs(np.full_like(lungs.depth, -50.0), np.zeros_like(lungs.sides))
    findings = Findings(tuple(of(kind) for kind in CHANCES))
    hu, rng = np.full(space.shape, FAT_HU, dtype=np.float32), np.random.default_rng(0)
    after = reshape_lungs(hu, space, habitus, empty, findings, rng=rng)
    draw_parenchymal_diseases(hu, space, habitus, after, findings, rng=rng)
    draw_solid_diseases(hu, space, habitus, after, findings, rng=rng)
    assert not after.sides.any()
    assert np.all(hu == FAT_HU)


def test_the_same_seed_gives_the_same_bits() -> None:
    diseases = Variety(diseases=True)
    number = next(n for n in range(99) if draw_findings(_stream(n)).kinds)
    first, second = (chest(number, seed=0, variety=diseases) for _ in range(2))
    assert np.array_equal(first.scan.voxels, second.scan.voxels)
    assert np.array_equal(first.mask.voxels, second.mask.voxels)
    assert first.kinds == second.kinds == draw_findings(_stream(number)).kinds


def _stream(number: int) -> np.random.Generator:
    return np.random.default_rng((0, number)).spawn(6)[3]
