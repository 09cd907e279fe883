"""Patients beyond plain adults."""

from dataclasses import replace

import numpy as np
import pytest

import thorax.phantom.varied_anatomy as varied
from thorax.imaging.grid import Volume
from thorax.phantom import LEFT, RIGHT, Chest, Variety, chest
from thorax.phantom.anatomy import Habitus, Variant, body_outline, draw_habitus
from thorax.phantom.lungs import Lungs, draw_parenchyma, shape_lungs
from thorax.phantom.mediastinum import hernia
from thorax.phantom.space import Space, position_patient
from thorax.phantom.varied_anatomy import draw_varied_habitus

ANATOMY = Variety(anatomy=True)
NAMES = [name for name, _, _ in (*varied.BUILDS, *varied.ORGANS)]
AXES = (
    np.arange(-180.0, 180.0, 4.0, dtype=np.float32),
    np.arange(-150.0, 150.0, 4.0, dtype=np.float32),
    np.arange(-40.0, 300.0, 8.0, dtype=np.float32),
)


def space_of(gravity_rad: float = 0.0) -> Space:
    return position_patient(AXES, np.random.default_rng(0), gravity_rad=gravity_rad)


def adult() -> Habitus:
    return replace(draw_habitus(np.random.default_rng(2)), variant=Variant(complete=True))


def with_kind(name: str, habitus: Habitus) -> Habitus:
    changes = {kind: change for kind, _, change in (*varied.BUILDS, *varied.ORGANS)}
    return changes[name](habitus, np.random.default_rng(5))


def lungs_of(habitus: Habitus) -> Lungs:
    space = space_of()
    return shape_lungs(space, habitus, body_outline(space, habitus))


def centre_x(volume: Volume, label: int) -> float:
    middle = np.argwhere(volume.voxels == label).mean(axis=0)
    return float(volume.grid.affine[0, :3] @ middle + volume.grid.affine[0, 3])


def forced(name: str, monkeypatch: pytest.MonkeyPatch) -> Chest:
    for group in ("BUILDS", "ORGANS"):
        entries = [(kind, 1.0, change) for kind, _, change in getattr(varied, group)]
        monkeypatch.setattr(varied, group, tuple(e for e in entries if e[0] == name))
    return chest(1, seed=3, variety=ANATOMY)


def test_every_kind_is_drawn_and_half_of_the_patients_are_unusual() -> None:
    drawn = [draw_varied_habitus(np.random.default_rng(n))[1] for n in range(1000)]
    counts = {name: sum(name in kinds for kinds in drawn) for name in NAMES}
    assert min(counts.values()) >= 5
    assert 500 < sum(bool(kinds) for kinds in drawn) < 850


def test_the_same_seed_gives_the_same_patient() -> None:
    first = draw_varied_habitus(np.random.default_rng(4))
    assert first == draw_varied_habitus(np.random.default_rng(4))


@pytest.mark.parametrize("name", NAMES)
def test_every_kind_has_two_lungs(name: str) -> None:
    sides = lungs_of(with_kind(name, adult())).sides
    voxel_ml = 4.0 * 4.0 * 8.0 / 1000.0
    for label in (LEFT, RIGHT):
        assert 150 < np.count_nonzero(sides == label) * voxel_ml < 5000


@pytest.mark.parametrize(
    ("name", "larger"),
    [
        ("barrel chest", True),
        ("flat diaphragm", True),
        ("raised diaphragm", False),
        ("expiration", False),
        ("large heart", False),
        ("pericardial effusion", False),
        ("pectus excavatum", False),
        ("goitre", False),
        ("enlarged lymph nodes", False),
        ("hiatal hernia", False),
        ("aortic aneurysm", False),
        ("air-filled oesophagus", False),
    ],
)
def test_a_kind_changes_the_lungs(name: str, larger: bool) -> None:
    plain = np.count_nonzero(lungs_of(adult()).sides)
    changed = np.count_nonzero(lungs_of(with_kind(name, adult())).sides)
    assert changed != plain
    assert (changed > plain) == larger


def test_an_infant_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    case = forced("infant", monkeypatch)
    assert case.kinds == ("infant",)
    volume_ml = np.count_nonzero(case.mask.voxels) * case.mask.grid.voxel_ml
    assert 60 < volume_ml < 600
    assert centre_x(case.mask, LEFT) < centre_x(case.mask, RIGHT) - 30


def test_gas_in_a_hernia_is_not_lung() -> None:
    habitus = with_kind("hiatal hernia", adult())
    lungs, space = lungs_of(habitus), space_of()
    (x, y, z), radii = hernia(habitus)
    away = ((space.x - x) / radii[0]) ** 2 + ((space.y - y) / radii[1]) ** 2
    inside = away + ((space.z - z) / radii[2]) ** 2 < 0.95
    assert inside.any()
    assert not lungs.sides[inside].any()


def test_the_heart_is_on_the_left_or_in_dextrocardia_on_the_right() -> None:
    for n in range(10):
        habitus = varied._draw_adult(np.random.default_rng(n))
        assert -50 < habitus.heart_centre[0] < -24
        mirrored = with_kind("dextrocardia", habitus)
        assert mirrored.heart_centre[0] == -habitus.heart_centre[0]


def test_shoulders_are_wider_than_the_chest_and_the_neck_is_narrower() -> None:
    axes = (np.arange(-300.0, 300.0, 4.0, dtype=np.float32), *AXES[1:])
    habitus = adult()
    levels = np.array([0.4, 1.1, 1.4], dtype=np.float32) * habitus.lung_height
    space = position_patient((axes[0], axes[1], levels), np.random.default_rng(0))
    chest_mm, shoulder_mm, neck_mm = 4.0 * (body_outline(space, habitus).skin > 0).any(1).sum(0)
    assert shoulder_mm > chest_mm + 10
    assert neck_mm < 0.55 * chest_mm


@pytest.mark.parametrize(
    ("gravity_rad", "axis", "sign"), [(0.0, 1, -1), (np.pi, 1, 1), (np.pi / 2, 0, 1)]
)
def test_the_dependent_lung_is_denser(gravity_rad: float, axis: int, sign: int) -> None:
    habitus, space = adult(), space_of(gravity_rad)
    lungs = shape_lungs(space, habitus, body_outline(space, habitus))
    hu = np.zeros(space.shape, dtype=np.float32)
    draw_parenchyma(hu, space, habitus, lungs, rng=np.random.default_rng(0))
    along, deep = (space.x, space.y)[axis], lungs.depth > 6
    low, high = np.quantile(along[deep], [0.2, 0.8])
    difference = np.median(hu[deep & (along > high)]) - np.median(hu[deep & (along < low)])
    assert difference * sign > 10
