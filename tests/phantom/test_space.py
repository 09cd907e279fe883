"""Textures, depths and body coordinates."""

import numpy as np

from thorax.phantom.space import capsule_depth, coverage, position_patient, smooth_minimum, texture

AXES = tuple(np.arange(n, dtype=np.float32) * mm for n, mm in ((60, 2.0), (50, 2.0), (20, 6.0)))


def test_a_texture_has_unit_strength_and_is_smooth() -> None:
    field = texture(AXES, np.random.default_rng(0), scale_mm=10.0)
    assert field.shape == (60, 50, 20)
    assert abs(field.mean()) < 0.2
    assert 0.85 < field.std() < 1.15
    assert np.abs(np.diff(field, axis=0)).mean() < 0.3


def test_coverage_is_half_on_the_surface() -> None:
    depth = np.array([-2.0, -0.5, 0.0, 0.5, 2.0], dtype=np.float32)
    np.testing.assert_allclose(coverage(depth, 2.0), [0.0, 0.25, 0.5, 0.75, 1.0])


def test_a_smooth_minimum_is_the_minimum_away_from_the_edge() -> None:
    first, second = np.array([0.0, 5.0, 20.0]), np.array([20.0, 5.0, 0.0])
    np.testing.assert_allclose(smooth_minimum(first, second, rounding_mm=4.0), [0.0, 4.0, 0.0])


def test_a_capsule_with_literals() -> None:
    x = np.array([-3.0, 0.0, 5.0, 5.0, 10.0])
    y = np.array([0.0, 0.0, 0.0, 4.0, 0.0])
    depth = capsule_depth((x, y, np.zeros(5)), (0.0, 0.0, 0.0), (10.0, 0.0, 0.0), (2.0, 1.0))
    np.testing.assert_allclose(depth, [-1.0, 2.0, 1.5, -2.5, 1.0], atol=1e-6)


def test_a_box_contains_its_points_in_a_rotated_patient() -> None:
    space = position_patient(AXES, np.random.default_rng(0), roll_rad=0.05)
    i, j, k = 40, 31, 12
    point = (float(space.x[i, j, k]), float(space.y[i, j, k]), float(space.z[0, 0, k]))
    box = space.box_around(point, margin_mm=1.0)
    assert all(s.start <= n < s.stop for s, n in zip(box, (i, j, k), strict=True))
