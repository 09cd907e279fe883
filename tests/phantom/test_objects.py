"""Objects in synthetic scans: couches, cushions, covers, arms, implants, metal streaks."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from thorax.phantom import Variety, chest, objects
from thorax.phantom.acquisition import draw_protocol, scanner_axes
from thorax.phantom.anatomy import Habitus, Outline, body_outline, draw_habitus
from thorax.phantom.lungs import Lungs, shape_lungs
from thorax.phantom.objects import Equipment, draw_equipment, draw_implants, draw_support
from thorax.phantom.objects.streaks import draw_streaks
from thorax.phantom.space import Space, position_patient

AIR_HU = -1000.0
OUTSIDE = (*objects.COUCHES, *objects.CUSHIONS, *objects.COVERS, *objects.ARMS)
IN_LUNGS = {"chest drain", "surgical clips", "bullet or pellets"}


@cache
def patient(gravity_rad: float = 0.0) -> tuple[Space, Habitus, Outline, Lungs]:
    habitus = draw_habitus(np.random.default_rng(0))
    axes = scanner_axes(draw_protocol(habitus, np.random.default_rng(1)))
    wide = (1.3 * axes[0][::2], 1.3 * axes[1][::2], axes[2])
    space = position_patient(wide, np.random.default_rng(2), gravity_rad=gravity_rad)
    outline = body_outline(space, habitus)
    return space, habitus, outline, shape_lungs(space, habitus, outline)


def support(*kinds: str, gravity_rad: float = 0.0, seed: int = 0) -> np.ndarray:
    space, _, outline, _ = patient(gravity_rad)
    hu = np.full(space.shape, AIR_HU, dtype=np.float32)
    rng = np.random.default_rng(seed)
    draw_support(hu, space, outline, Equipment(kinds), gap_mm=10.0, rng=rng)
    return hu


def implanted(*kinds: str, seed: int = 0) -> np.ndarray:
    space, habitus, outline, lungs = patient()
    hu = np.where(outline.skin > 0, 0.0, AIR_HU).astype(np.float32)
    hu[lungs.sides > 0] = -850.0
    rng = np.random.default_rng(seed)
    draw_implants(hu, space, habitus, lungs, Equipment(kinds), rng=rng)
    return hu


def test_every_kind_is_drawn_in_at_least_one_percent_of_scans() -> None:
    rng = np.random.default_rng(0)
    counts = Counter(kind for _ in range(6000) for kind in draw_equipment(rng).kinds)
    names = {name for name in (*OUTSIDE, *objects.INSIDE) if name}
    assert set(counts) == names
    assert min(counts.values()) > 60
    assert counts["no couch"] < 900


def test_some_scans_have_the_usual_couch_and_nothing_else() -> None:
    rng = np.random.default_rng(0)
    empty = sum(not draw_equipment(rng).kinds for _ in range(2000))
    assert 60 < empty < 400


@pytest.mark.parametrize("kind", [kind for kind in OUTSIDE if kind not in ("", "no couch")])
def test_every_support_is_visible_and_repeatable(kind: str) -> None:
    drawn = support(kind)
    assert np.abs(drawn - support()).max() > 20.0
    np.testing.assert_array_equal(drawn, support(kind))


@pytest.mark.parametrize("kind", objects.INSIDE)
def test_every_implant_is_visible_and_repeatable(kind: str) -> None:
    drawn = implanted(kind)
    assert np.count_nonzero(np.abs(drawn - implanted()) > 40.0) >= 3
    np.testing.assert_array_equal(drawn, implanted(kind))


@pytest.mark.parametrize("kind", [kind for kind in objects.INSIDE if kind not in IN_LUNGS])
def test_implants_are_outside_the_lungs(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects, "draw_streaks", lambda *_: None)
    space, _, _, lungs = patient()
    deep = lungs.depth > space.pixel_mm
    for seed in range(3):
        assert (implanted(kind, seed=seed)[deep] == -850.0).all()


def test_the_truth_does_not_change_with_objects() -> None:
    plain = chest(2, seed=0)
    case = chest(2, seed=0, variety=Variety(objects=True))
    assert case.kinds
    np.testing.assert_array_equal(case.mask.voxels, plain.mask.voxels)
    assert (case.scan.voxels != plain.scan.voxels).mean() > 0.01


def test_no_couch_is_only_air() -> None:
    assert (support("no couch") == AIR_HU).all()


def test_a_hollow_couch_is_air_between_dense_walls_below_the_patient() -> None:
    space, _, outline, _ = patient()
    hu = support("hollow couch")
    middle = len(space.axes[0]) // 2
    back = np.flatnonzero((outline.skin[:, :, 20] > 0).any(axis=0))[0]
    for column in (middle - 8, middle + 8):
        profile = hu[column, :, 20]
        walls = np.flatnonzero(profile > -800)
        assert walls.size >= 2
        assert walls[-1] < back + 4
        assert (profile[walls[0] + 2 : walls[-1] - 1] == AIR_HU).sum() >= 5


@pytest.mark.parametrize("kind", [kind for kind in objects.COUCHES if kind != "no couch"])
def test_a_couch_touches_the_patient_or_nearly(kind: str) -> None:
    space, _, outline, _ = patient()
    for seed in range(3):
        solid = (support(kind, seed=seed) > -990.0).any(axis=2)
        body = (outline.skin > 0).any(axis=2)
        gaps = [
            space.axes[1][np.flatnonzero(b)[0]] - space.axes[1][np.flatnonzero(s)[-1]]
            for s, b in zip(solid, body, strict=True)
            if s.any() and b.any()
        ]
        assert -25.0 < min(gaps) < 25.0


@pytest.mark.parametrize(
    ("gravity_rad", "axis", "sign"), [(0.0, 1, -1.0), (np.pi, 1, 1.0), (np.pi / 2, 0, 1.0)]
)
def test_the_couch_is_where_gravity_points(gravity_rad: float, axis: int, sign: float) -> None:
    space, *_ = patient(gravity_rad)
    solid = support("flat couch", gravity_rad=gravity_rad) > -900.0
    positions = space.axes[axis][np.nonzero(solid)[axis]]
    assert (sign * positions > 60.0).all()


def test_arms_at_the_sides_have_bone_muscle_and_fat_next_to_the_body() -> None:
    space, _, outline, _ = patient()
    hu = support("no couch", "arms down")
    outside = outline.skin < 0
    for side in (-1.0, 1.0):
        beside = hu[outside & (side * space.x > 100.0)]
        assert np.count_nonzero(beside > 500) > 20
        assert np.count_nonzero((beside > 20) & (beside < 80)) > 200
        assert np.count_nonzero((beside > -130) & (beside < -70)) > 50


def test_raised_arms_are_at_the_top_only() -> None:
    space, habitus, _, _ = patient()
    drawn = (support("no couch", "arms raised") > -500.0).any(axis=(0, 1))
    levels = space.axes[2][drawn] / habitus.lung_height
    assert levels.min() > 0.6
    assert drawn[-1]


def test_a_hose_has_a_wall_and_a_lumen_of_air() -> None:
    hu = support("no couch", "ventilator hoses")
    assert (hu > -500).sum() > 50
    assert ((hu > -996) & (hu < -994)).sum() > 50


def test_breast_implants_raise_the_skin() -> None:
    space, _, outline, _ = patient()
    added = (implanted("breast implants") > -200.0) & (outline.skin < -space.pixel_mm)
    assert added.sum() > 200
    assert (space.y[added] > 0).all()


def test_a_chest_drain_crosses_the_pleura() -> None:
    _, _, _, lungs = patient()
    for seed in range(4):
        hu = implanted("chest drain", seed=seed)
        drain = np.abs(hu - implanted()) > 40.0
        assert (drain & (lungs.sides > 0)).sum() > 5
        assert (drain & (lungs.sides == 0)).sum() > 5


def with_metal() -> tuple[np.ndarray, np.ndarray, Space]:
    space, _, outline, _ = patient()
    hu = np.where(outline.skin > 0, 0.0, AIR_HU).astype(np.float32)
    hu[60:64, 50:54, 10:13] = 3000.0
    before = hu.copy()
    draw_streaks(hu, space, np.random.default_rng(0))
    return before, hu - before, space


def test_streaks_are_limited_and_their_mean_is_about_zero() -> None:
    before, streaks, _ = with_metal()
    assert -400.01 < streaks.min() < -60.0
    assert 60.0 < streaks.max() < 500.01
    assert abs(streaks[:, :, 10:13].mean()) < 10.0
    assert (streaks[before == 3000.0] == 0).all()


def test_streaks_stay_in_the_planes_with_metal_and_decrease_with_distance() -> None:
    _, streaks, space = with_metal()
    assert not streaks[:, :, :10].any()
    assert not streaks[:, :, 13:].any()
    away = np.hypot(space.axes[0][:, None] - space.axes[0][62], space.axes[1] - space.axes[1][52])
    strength = np.abs(streaks[:, :, 11])
    assert strength[(away > 12) & (away < 30)].mean() > 2 * strength[away > 120].mean()


def test_without_metal_there_are_no_streaks() -> None:
    hu = np.full(patient()[0].shape, 700.0, dtype=np.float32)
    draw_streaks(hu, patient()[0], np.random.default_rng(0))
    assert (hu == 700.0).all()
